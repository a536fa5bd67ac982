/* What every file of the core shares: error codes, limits and the spelling of atomics.
 *
 * The headers are read twice: by the C compiler, and (preprocessed with SHD_CDEF defined) by
 * build.py, which hands the result to cffi. So declarations that Python may use are plain C
 * without attributes, constants are enums, and everything else hides behind #ifndef SHD_CDEF. */
#ifndef SHD_BASE_H
#define SHD_BASE_H

#ifndef SHD_CDEF
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#endif

/* The glue that cffi generates takes the address of fields as plain types; it defines SHD_PLAIN. Size and
 * alignment are the same (segments.c asserts it), and the glue itself reads nothing while others write. */
#if defined SHD_CDEF || defined SHD_PLAIN
#define SHD_ATOMIC(type) type
#else
#define SHD_ATOMIC(type) _Atomic(type)
#endif

/* Results below zero. Zero or more is success and means what the function says. */
enum shd_err {
    SHD_EMISS = -1,      /* not in the table */
    SHD_ETORN = -2,      /* changed while it was read, four times over: treat as a miss */
    SHD_EDROP = -3,      /* no answer may be sent (a response, or too short to answer) */
    SHD_EFORMERR = -4,   /* answer FORMERR: malformed, or not exactly one question */
    SHD_ENOTIMP = -5,    /* answer NOTIMP: an opcode other than QUERY */
    SHD_EBADVERS = -6,   /* answer BADVERS: an EDNS version other than 0 */
    SHD_EMALFORMED = -7, /* an upstream's answer that does not parse */
    SHD_ESPACE = -8,     /* the result does not fit in the memory given */
    SHD_EHEADER = -9,    /* a segment's header is not ours: magic, version, geometry or boot id */
    SHD_EFULL = -10,     /* no room: every place is in use */
    SHD_EREFUSED = -11,  /* no server block for this name: answer REFUSED */
    SHD_EMISMATCH = -12, /* an answer whose question is not the one that was asked */
};

enum shd_limits {
    SHD_NAME_MAX = 255,        /* octets of a name on the wire, root label included (RFC 1035 s.3.1) */
    SHD_MESSAGE_MAX = 65535,   /* octets of a message (RFC 1035 s.4.2.2) */
    SHD_KEY_MAX = 8 + 2 + 2 + 1 + 255,
    SHD_WORKERS_MAX = 64,      /* worker processes of one generation */
    SHD_SLOTS_MAX = 128,       /* worker slots: two generations overlap during a reload */
    SHD_LISTENERS_MAX = 64,    /* listen addresses over the life of a supervisor */
    SHD_ROWS_MAX = 1024,       /* (listener, zone) pairs over the life of a supervisor */
    SHD_BLOCKS_MAX = 4096,
};

#endif
