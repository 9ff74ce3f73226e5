/* The injector: linked into a second program of mlpd's own objects with --wrap, it stands between mlpd's code and the calls
 * of calls.h, and makes the nth of a kind fail. The libraries' calls do not pass here.
 *
 * A file that is mapped by the test and by the program is the control: INJECT_CONTROL names it. The test writes into
 * `remaining` how many calls from now the one that fails is; the program counts, and notes where the failed call stood. Any
 * thread may call; without the file nothing fails.
 */
#include "tests/inject/calls.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <protobuf-c/protobuf-c.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <zlib.h>

enum call {
#define CALL_ENUM(name)                                                  CALL_##name,
#define CALL_ENUM_OF(name, result, failure, code, parameters, arguments) CALL_ENUM(name)
    INJECT_CALLS(CALL_ENUM_OF) INJECT_VARIADIC(CALL_ENUM) CALL_COUNT
#undef CALL_ENUM_OF
#undef CALL_ENUM
};

enum { NAME_BYTES = 40 };

/* One kind of call, as tests/inject/injector.py reads and writes it. */
struct kind {
    char name[NAME_BYTES];
    _Atomic uint64_t calls;     /* so far */
    _Atomic uint64_t remaining; /* the call that brings it from 1 to 0 fails; 0: none does */
    _Atomic uint64_t failed;    /* calls that were made to fail */
    _Atomic uint64_t site;      /* where the last of them returned to, from the program's start */
    _Atomic uint64_t code;      /* errno instead of the usual one; 0: the usual one */
};

static struct kind idle[CALL_COUNT];
static struct kind *kinds = idle;
extern const char __executable_start;

/* A thing that is not there when the program starts is the test's mistake. */
__attribute__((constructor)) static void map_control(void)
{
    static const char *const names[] = {
#define CALL_NAME(name)                                                  #name,
#define CALL_NAME_OF(name, result, failure, code, parameters, arguments) CALL_NAME(name)
        INJECT_CALLS(CALL_NAME_OF) INJECT_VARIADIC(CALL_NAME)
#undef CALL_NAME_OF
#undef CALL_NAME
    };
    const char *path = getenv("INJECT_CONTROL");
    if (!path)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *control = mmap(NULL, sizeof idle, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || ftruncate(fd, sizeof idle) != 0 || control == MAP_FAILED) {
        fprintf(stderr, "inject: %s: %s\n", path, strerror(errno));
        _exit(70);
    }
    close(fd);
    kinds = control;
    for (size_t i = 0; i < CALL_COUNT; i++)
        snprintf(kinds[i].name, NAME_BYTES, "%s", names[i]);
}

/* Counts the call, and says whether it fails; then errno is set. */
static bool fails(enum call call, int code, const void *return_address)
{
    struct kind *kind = &kinds[call];
    atomic_fetch_add(&kind->calls, 1);
    uint64_t remaining = atomic_load(&kind->remaining);
    while (remaining && !atomic_compare_exchange_weak(&kind->remaining, &remaining, remaining - 1))
        continue;
    if (remaining != 1)
        return false;
    atomic_store(&kind->site, (uint64_t)((const char *)return_address - &__executable_start));
    atomic_fetch_add(&kind->failed, 1);
    errno = atomic_load(&kind->code) ? (int)atomic_load(&kind->code) : code;
    return true;
}

#define FAILS(name, code) fails(CALL_##name, code, __builtin_return_address(0))

/* As --wrap=NAME has it: mlpd's NAME comes to __wrap_NAME, and __real_NAME is the true one. */
#define DEFINE(name, result, failure, code, parameters, arguments)      \
    result __real_##name parameters;                                    \
    result __wrap_##name parameters;                                    \
    result __wrap_##name parameters                                     \
    {                                                                   \
        return FAILS(name, code) ? (failure) : __real_##name arguments; \
    }
INJECT_CALLS(DEFINE)
#undef DEFINE

int __wrap_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **text, const char *format, ...)
{
    va_list arguments;
    if (FAILS(asprintf, ENOMEM))
        return -1;
    va_start(arguments, format);
    int len = vasprintf(text, format, arguments);
    va_end(arguments);
    return len;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    if (FAILS(open, EMFILE))
        return -1;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return __real_open(path, flags, mode);
}

/* A descriptor is always let go. */
int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (operation != EPOLL_CTL_DEL && FAILS(epoll_ctl, ENOSPC))
        return -1;
    return __real_epoll_ctl(epoll, operation, fd, event);
}

struct MHD_Daemon *__wrap_MHD_start_daemon(unsigned flags, uint16_t port, MHD_AcceptPolicyCallback accepts,
                                           void *accepts_context, MHD_AccessHandlerCallback handler,
                                           void *handler_context, ...);
struct MHD_Daemon *__wrap_MHD_start_daemon(unsigned flags, uint16_t port, MHD_AcceptPolicyCallback accepts,
                                           void *accepts_context, MHD_AccessHandlerCallback handler,
                                           void *handler_context, ...)
{
    va_list options;
    if (FAILS(MHD_start_daemon, EMFILE))
        return NULL;
    va_start(options, handler_context);
    struct MHD_Daemon *daemon = MHD_start_daemon_va(flags, port, accepts, accepts_context, handler, handler_context,
                                                    options);
    va_end(options);
    return daemon;
}
