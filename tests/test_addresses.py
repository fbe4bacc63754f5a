"""Which addresses a policy permits. Nothing is connected to."""

from __future__ import annotations

import pickle

import pytest

import grequests
from grequests import AddressPolicy, PolicyError

POLICY = AddressPolicy()


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.255", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
        *("192.168.0.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.8"),
        *("192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.2.3"),
        *("240.0.0.1", "255.255.255.255", "192.88.99.1"),
        *("::", "::1", "fe80::1", "fe80::1%lo", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1"),
        *("2001:db8::1", "100::1", "3fff::1", "5f00::1", "2001:10::1"),
        # Nobody's yet (RFC 4291 section 2.4).
        *("4000::1", "8000::1", "c000::1", "e000::1", "f000::1", "fe00::1", "200::1"),
        *("100:0:0:1::1", "::1:0:0:1", "::fffe:7f00:1"),
        # IPv4 inside: mapped, compatible, translated, 6to4, NAT64, Teredo (server, client), ISATAP.
        *("::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:7f00:1"),
        *("2002:7f00:1::", "2002:a9fe:a9fe::1", "64:ff9b::127.0.0.1", "64:ff9b::a00:1"),
        *("64:ff9b:1::1", "2001:0:7f00:1::", "2a00::5efe:127.0.0.1", "2a00::200:5efe:a00:1"),
        # No addresses at all.
        *("", "localhost", "example.org", "0x7f.1", "2130706433", "127.1", "1.2.3.4.5", "/run/x"),
    ],
)
def test_what_is_nobodys_on_the_internet_is_denied(address):
    assert not POLICY.permits(address)


@pytest.mark.parametrize(
    "address",
    [
        *("93.184.216.34", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255"),
        *("100.128.0.1", "198.17.255.255", "198.20.0.1", "223.255.255.255", "11.0.0.1"),
        *("2606:4700:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1", "2002:101:101::1"),
        *("64:ff9b::1.1.1.1", "2a00::5efe:1.1.1.1"),
    ],
)
def test_what_is_on_the_internet_is_permitted(address):
    assert POLICY.permits(address)


def test_what_is_allowed_goes_before_what_is_denied():
    policy = AddressPolicy(allow=["10.1.0.0/16", "::1"], deny=["1.1.1.0/24", "10.1.2.3"])
    assert [policy.permits(each) for each in ("10.1.9.9", "10.1.2.3", "10.2.0.1", "::1")] == [
        *(True, True, False, True)
    ]
    assert [policy.permits(each) for each in ("1.1.1.1", "::ffff:1.1.1.1", "2002:101:101::")] == [
        *(False, False, False)
    ]
    assert policy.permits("::ffff:10.1.0.1"), "the kernel connects to 10.1.0.1"
    assert policy.permits("1.0.0.1")


def test_private_addresses_may_be_let_in():
    policy = AddressPolicy(deny_private=False, deny=["127.0.0.0/8"])
    assert policy.permits("10.0.0.1")
    assert not policy.permits("127.0.0.1")
    assert not policy.permits("64:ff9b::7f00:1")
    assert not policy.permits("localhost")


@pytest.mark.parametrize("name", ["allow", "deny"])
@pytest.mark.parametrize(
    "value",
    ["10.0.0.0/8", b"10.0.0.0/8", 10, None, ["localhost"], [1], ["10.0.0.1/8"], [b"\x7f\0\0\1"]],
)
def test_what_is_no_network_is_refused(name, value):
    with pytest.raises(PolicyError) as caught:
        AddressPolicy(**{name: value})
    assert caught.value.name == name


def test_a_policy_is_a_value():
    one, other = AddressPolicy(allow=["10.0.0.0/8"]), AddressPolicy(allow=("10.0.0.0/8",))
    assert one == other
    assert hash(one) == hash(other)
    assert one != AddressPolicy()
    assert repr(AddressPolicy(allow=["10.1.0.1"])) == (
        "AddressPolicy(deny_private=True, allow=('10.1.0.1/32',), deny=())"
    )
    assert pickle.loads(pickle.dumps(one)).permits("10.0.0.1")
    with pytest.raises(PolicyError):
        AddressPolicy(deny_private="yes")
    with pytest.raises(PolicyError):
        grequests.Client(address_policy="deny")
