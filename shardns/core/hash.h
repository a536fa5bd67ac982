/* Keyed hash of table keys. Pods choose the names, so the hash must not be predictable:
 * SipHash-1-3 with a random seed that lives in the table's header. Pure. */
#ifndef SHD_HASH_H
#define SHD_HASH_H
#include "base.h"

/* SipHash-1-3 of len bytes under seed (two 64-bit words). */
uint64_t shd_hash(const uint64_t seed[2], const uint8_t *bytes, size_t len);

#endif
