/* CRC-32 as zip has it (ISO-HDLC: polynomial 0xEDB88320, reflected). Any thread may call it. */
#ifndef MLPD_ENGINE_CRC32_H
#define MLPD_ENGINE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* The check sum of `len` bytes: 0xCBF43926 for "123456789". */
uint32_t crc32_of(const void *data, size_t len);

#endif
