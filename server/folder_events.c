#include "server/folder_events.h"

#include <sys/inotify.h>
#include <unistd.h>

int folder_events_open(void)
{
    return inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
}

void folder_events_watch(int fd, const char *folder)
{
    if (fd >= 0)
        inotify_add_watch(fd, folder,
                          IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE | IN_ONLYDIR);
}

bool folder_events_drain(int fd)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool any = false;
    while (fd >= 0 && read(fd, events, sizeof events) > 0)
        any = true;
    return any;
}
