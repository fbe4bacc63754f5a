"""Times the import of some modules in this fresh interpreter; imports next to nothing itself."""

import json
import resource
import sys
import time

names = json.loads(sys.argv[1])["modules"]
before = resource.getrusage(resource.RUSAGE_SELF)
began = time.perf_counter()
for name in names:
    __import__(name)
wall = time.perf_counter() - began
after = resource.getrusage(resource.RUSAGE_SELF)
print(
    json.dumps(
        {
            "requests": 1,
            "wall": wall,
            "user": after.ru_utime - before.ru_utime,
            "system": after.ru_stime - before.ru_stime,
            "maxrss_kb": after.ru_maxrss,
        }
    )
)
