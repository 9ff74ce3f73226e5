/* The constant answer of the ceilings: a file's bytes. */
#ifndef MLPD_BENCH_ANSWER_FILE_H
#define MLPD_BENCH_ANSWER_FILE_H

#include <stdio.h>
#include <stdlib.h>

struct answer {
    char *data; /* the caller's, to be freed */
    size_t len;
};

/* Ends the program if the file cannot be read or holds more than ANSWER_BYTES_MAX. */
static struct answer answer_read(const char *path)
{
    enum { ANSWER_BYTES_MAX = 4 << 20 };
    struct answer answer = {.data = malloc(ANSWER_BYTES_MAX)};
    FILE *file = fopen(path, "rb");
    if (file && answer.data)
        answer.len = fread(answer.data, 1, ANSWER_BYTES_MAX, file);
    if (!answer.len || answer.len == ANSWER_BYTES_MAX) {
        fprintf(stderr, "cannot read an answer from %s\n", path);
        exit(EXIT_FAILURE);
    }
    fclose(file);
    return answer;
}

#endif
