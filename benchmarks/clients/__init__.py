"""One client per library, each written as somebody who knows the library would."""
