"""The keyed hash against SipHash as its authors' paper reads, slow and obvious."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shardns.core import ffi, lib

WORD = (1 << 64) - 1


def rotate(word: int, bits: int) -> int:
    """Word turned left."""
    return (word << bits | word >> (64 - bits)) & WORD


def sip_round(v: list[int]) -> None:
    """One SipRound (section 2.2 of the paper)."""
    v[0] = (v[0] + v[1]) & WORD
    v[1] = rotate(v[1], 13) ^ v[0]
    v[0] = rotate(v[0], 32)
    v[2] = (v[2] + v[3]) & WORD
    v[3] = rotate(v[3], 16) ^ v[2]
    v[0] = (v[0] + v[3]) & WORD
    v[3] = rotate(v[3], 21) ^ v[0]
    v[2] = (v[2] + v[1]) & WORD
    v[1] = rotate(v[1], 17) ^ v[2]
    v[2] = rotate(v[2], 32)


def siphash(rounds: int, last_rounds: int, key: tuple[int, int], message: bytes) -> int:
    """SipHash-rounds-last_rounds of message."""
    v = [
        key[0] ^ 0x736F6D6570736575,
        key[1] ^ 0x646F72616E646F6D,
        key[0] ^ 0x6C7967656E657261,
        key[1] ^ 0x7465646279746573,
    ]
    padded = message + bytes(7 - len(message) % 8) + bytes([len(message) & 255])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        for _ in range(rounds):
            sip_round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(last_rounds):
        sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_oracle() -> None:
    """The oracle gives the value that the paper's appendix A prints for SipHash-2-4."""
    assert siphash(2, 4, (0x0706050403020100, 0x0F0E0D0C0B0A0908), bytes(range(15))) == 0xA129CA6149BE45E5


@given(st.integers(0, WORD), st.integers(0, WORD), st.binary(max_size=300))
def test_hash(first: int, second: int, message: bytes) -> None:
    """The C hash is SipHash-1-3 for every seed and message."""
    seed = ffi.new("uint64_t[2]", [first, second])
    assert lib.shd_hash(seed, message, len(message)) == siphash(1, 3, (first, second), message)
