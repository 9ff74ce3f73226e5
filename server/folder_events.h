/* What the kernel tells of changes in folders (inotify), so that they are seen sooner than by looking from time to time. It
 * is no more than that: on a network's or a container's file system it may tell nothing, and then nothing is lost but
 * time. One thread at a time.
 *
 *     int fd = folder_events_open();             // -1: there are none here, and all below does nothing
 *     folder_events_watch(fd, "models/digits");  // again and again, as folders come: the same is watched once
 *     poll fd for reading
 *     folder_events_drain(fd);                   // look at what has changed after this, not before
 *     close(fd);
 */
#ifndef MLPD_SERVER_FOLDER_EVENTS_H
#define MLPD_SERVER_FOLDER_EVENTS_H

#include <stdbool.h>

int folder_events_open(void);

/* What comes, goes or is written to in the folder itself. One that has gone is not watched any more. */
void folder_events_watch(int fd, const char *folder);

/* Forgets what was told. True if that was anything. */
bool folder_events_drain(int fd);

#endif
