#include "engine/crc32.h"

#include <pthread.h>
#include <string.h>

/* Slicing by eight: table[k][b] is what byte b does k bytes before the end of a step, so that eight look-ups that do not
 * wait for each other replace eight that do. */
enum { SLICES = 8 };

static uint32_t table[SLICES][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void fill_table(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        table[0][b] = crc;
    }
    for (int slice = 1; slice < SLICES; slice++)
        for (uint32_t b = 0; b < 256; b++)
            table[slice][b] = table[slice - 1][b] >> 8 ^ table[0][table[slice - 1][b] & 0xFF];
}

/* The next eight bytes, little-endian as everything here. */
static uint32_t step(uint32_t crc, const unsigned char *at)
{
    uint32_t low, high;
    memcpy(&low, at, sizeof low);
    memcpy(&high, at + 4, sizeof high);
    low ^= crc;
    return table[7][low & 0xFF] ^ table[6][low >> 8 & 0xFF] ^ table[5][low >> 16 & 0xFF] ^ table[4][low >> 24] ^
           table[3][high & 0xFF] ^ table[2][high >> 8 & 0xFF] ^ table[1][high >> 16 & 0xFF] ^ table[0][high >> 24];
}

uint32_t crc32_of(const void *data, size_t len)
{
    const unsigned char *at = data;
    uint32_t crc = UINT32_MAX;
    pthread_once(&table_once, fill_table);
    for (; len >= SLICES; len -= SLICES, at += SLICES)
        crc = step(crc, at);
    for (; len > 0; len--, at++)
        crc = crc >> 8 ^ table[0][(crc ^ *at) & 0xFF];
    return ~crc;
}
