/* What a folder's files looked like at one moment, to tell later whether they are others. Links are followed, so that a
 * Kubernetes ConfigMap, whose files are links through one that is swapped, is seen to change. Stateless; any thread.
 *
 *     struct folder_stamp before, now;
 *     folder_stamp("models/digits/3", &before);
 *     ...
 *     folder_stamp("models/digits/3", &now);
 *     if (now.digest != before.digest) ...         // a file came, went, was replaced or written to
 */
#ifndef MLPD_SERVER_FOLDER_STAMP_H
#define MLPD_SERVER_FOLDER_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct folder_stamp {
    uint64_t digest; /* of names, inodes, sizes and times of change of content */
    size_t files;    /* hidden ones are not counted, nor looked at */
    /* The folder itself has changed after everything in it: it was renamed to where it is, or its copier has ended by
     * setting its times. So it is whole. */
    bool moved_in;
};

/* Of a file by itself in the same way, for which moved_in is false. What cannot be read looks like an empty folder. */
void folder_stamp(const char *path, struct folder_stamp *ret);

#endif
