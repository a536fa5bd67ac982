/* What the load generator asks and the nameserver answers: every name has one IPv4 address, which follows from the name,
 * so that a reply for another name, or for another client, is seen at once. The same rule as tests/peers/fake.py. */
#ifndef PERF_NAMES_H
#define PERF_NAMES_H
#include <stddef.h>
#include <stdint.h>

static uint32_t crc_table[256];

static inline void crc_prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xEDB88320u : value >> 1;
        crc_table[i] = value;
    }
}

/* The address of a name in wire format, in either case: 10 and the low 24 bits of its CRC-32. */
static inline uint32_t address_of(const uint8_t *name, size_t len)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < len; i++) {
        uint8_t octet = name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 32 : name[i];
        crc = crc >> 8 ^ crc_table[(crc ^ octet) & 255];
    }
    return 10u << 24 | (~crc & 0xFFFFFFu);
}

#endif
