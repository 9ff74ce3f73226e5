/* CRC-32 as zip and PNG have it (ISO-HDLC: polynomial 0xEDB88320, reflected), by zlib. Any thread may call it. */
#ifndef MLPD_ENGINE_CRC32_H
#define MLPD_ENGINE_CRC32_H

#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

/* The check sum of `len` bytes: 0xCBF43926 for "123456789". */
static inline uint32_t crc32_of(const void *data, size_t len)
{
    return (uint32_t)crc32_z(0, data, len);
}

#endif
