/* The calls out of mlpd's own code that can be made to fail, one a line: name, result, parameters, arguments, what it
 * returns when it fails, and errno then. The Makefile reads the names here, too (--wrap); the functions with a variable
 * number of arguments stand in inject.c and are named in INJECT_VARIADIC.
 *
 * What cannot fail is left out: a lock that is taken, a descriptor that is taken out of an epoll.
 */
#ifndef MLPD_TESTS_INJECT_CALLS_H
#define MLPD_TESTS_INJECT_CALLS_H

/* clang-format off */
#define INJECT_CALLS(CALL)                                                                                       \
    CALL(malloc, void *, NULL, ENOMEM, (size_t size), (size))                                                    \
    CALL(calloc, void *, NULL, ENOMEM, (size_t count, size_t size), (count, size))                               \
    CALL(realloc, void *, NULL, ENOMEM, (void *old, size_t size), (old, size))                                   \
    CALL(aligned_alloc, void *, NULL, ENOMEM, (size_t alignment, size_t size), (alignment, size))                \
    CALL(strdup, char *, NULL, ENOMEM, (const char *text), (text))                                               \
    CALL(strndup, char *, NULL, ENOMEM, (const char *text, size_t len), (text, len))                             \
    CALL(open_memstream, FILE *, NULL, ENOMEM, (char **text, size_t *len), (text, len))                          \
    CALL(__getdelim, ssize_t, -1, ENOMEM, (char **line, size_t *size, int end, FILE *file), (line, size, end,    \
         file))                                                                                                  \
    CALL(mmap, void *, MAP_FAILED, ENOMEM, (void *at, size_t len, int access, int flags, int fd, off_t offset),  \
         (at, len, access, flags, fd, offset))                                                                   \
    CALL(pthread_create, int, EAGAIN, EAGAIN, (pthread_t *thread, const pthread_attr_t *attributes,              \
         void *(*run)(void *), void *argument), (thread, attributes, run, argument))                             \
    CALL(pthread_key_create, int, EAGAIN, EAGAIN, (pthread_key_t *key, void (*end)(void *)), (key, end))         \
    CALL(pthread_setspecific, int, ENOMEM, ENOMEM, (pthread_key_t key, const void *value), (key, value))         \
    CALL(fopen, FILE *, NULL, EMFILE, (const char *path, const char *mode), (path, mode))                        \
    CALL(opendir, DIR *, NULL, EMFILE, (const char *path), (path))                                               \
    CALL(readdir, struct dirent *, NULL, EIO, (DIR *folder), (folder))                                           \
    CALL(read, ssize_t, -1, EIO, (int fd, void *data, size_t len), (fd, data, len))                              \
    CALL(pread, ssize_t, -1, EIO, (int fd, void *data, size_t len, off_t offset), (fd, data, len, offset))       \
    CALL(lseek, off_t, -1, EIO, (int fd, off_t offset, int from), (fd, offset, from))                            \
    CALL(realpath, char *, NULL, ENOMEM, (const char *path, char *resolved), (path, resolved))                   \
    CALL(rename, int, -1, EACCES, (const char *from, const char *to), (from, to))                                \
    CALL(write, ssize_t, -1, ENOSPC, (int fd, const void *data, size_t len), (fd, data, len))                    \
    CALL(fgets, char *, NULL, EIO, (char *line, int size, FILE *file), (line, size, file))                       \
    CALL(fflush, int, EOF, ENOSPC, (FILE *file), (file))                                                         \
    CALL(fclose, int, (__real_fclose(file), EOF), ENOMEM, (FILE *file), (file))                                  \
    CALL(stat, int, -1, EACCES, (const char *path, struct stat *info), (path, info))                             \
    CALL(lstat, int, -1, EACCES, (const char *path, struct stat *info), (path, info))                            \
    CALL(fstat, int, -1, EIO, (int fd, struct stat *info), (fd, info))                                           \
    CALL(fstatat, int, -1, EACCES, (int folder, const char *path, struct stat *info, int flags), (folder, path,  \
         info, flags))                                                                                           \
    CALL(statfs, int, -1, EACCES, (const char *path, struct statfs *info), (path, info))                         \
    CALL(access, int, -1, EACCES, (const char *path, int mode), (path, mode))                                    \
    CALL(readlink, ssize_t, -1, EACCES, (const char *path, char *text, size_t size), (path, text, size))         \
    CALL(unlink, int, -1, EACCES, (const char *path), (path))                                                    \
    CALL(getrlimit, int, -1, EPERM, (int what, struct rlimit *limit), (what, limit))                             \
    CALL(setrlimit, int, -1, EPERM, (int what, const struct rlimit *limit), (what, limit))                       \
    CALL(sched_getaffinity, int, -1, EINVAL, (pid_t process, size_t size, cpu_set_t *set), (process, size, set)) \
    CALL(getrandom, ssize_t, -1, ENOSYS, (void *data, size_t len, unsigned flags), (data, len, flags))           \
    CALL(socket, int, -1, EMFILE, (int family, int type, int protocol), (family, type, protocol))                \
    CALL(setsockopt, int, -1, ENOBUFS, (int fd, int level, int name, const void *value, socklen_t len), (fd,     \
         level, name, value, len))                                                                               \
    CALL(bind, int, -1, EADDRINUSE, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len)) \
    CALL(listen, int, -1, EADDRINUSE, (int fd, int backlog), (fd, backlog))                                      \
    CALL(connect, int, -1, EAGAIN, (int fd, const struct sockaddr *address, socklen_t len), (fd, address,  \
         len))                                                                                                   \
    CALL(getsockname, int, -1, ENOBUFS, (int fd, struct sockaddr *address, socklen_t *len), (fd, address, len))  \
    CALL(getaddrinfo, int, EAI_MEMORY, ENOMEM, (const char *host, const char *service,                           \
         const struct addrinfo *hints, struct addrinfo **found), (host, service, hints, found))                  \
    CALL(getnameinfo, int, EAI_MEMORY, ENOMEM, (const struct sockaddr *address, socklen_t len, char *host,       \
         socklen_t host_size, char *service, socklen_t service_size, int flags), (address, len, host, host_size, \
         service, service_size, flags))                                                                          \
    CALL(accept4, int, -1, EMFILE, (int fd, struct sockaddr *address, socklen_t *len, int flags), (fd, address,  \
         len, flags))                                                                                            \
    CALL(recvfrom, ssize_t, -1, ECONNRESET, (int fd, void *data, size_t len, int flags,                          \
         struct sockaddr *address, socklen_t *address_len), (fd, data, len, flags, address, address_len))        \
    CALL(sendmsg, ssize_t, -1, EAGAIN, (int fd, const struct msghdr *message, int flags), (fd, message, flags))  \
    CALL(poll, int, -1, ENOMEM, (struct pollfd *fds, nfds_t count, int timeout_ms), (fds, count, timeout_ms))    \
    CALL(eventfd, int, -1, EMFILE, (unsigned initial, int flags), (initial, flags))                              \
    CALL(epoll_create1, int, -1, EMFILE, (int flags), (flags))                                                   \
    CALL(epoll_wait, int, -1, EINTR, (int epoll, struct epoll_event *events, int count, int timeout_ms), (epoll, \
         events, count, timeout_ms))                                                                             \
    CALL(cJSON_ParseWithLengthOpts, cJSON *, NULL, ENOMEM, (const char *text, size_t len, const char **end,      \
         cJSON_bool whole), (text, len, end, whole))                                                             \
    CALL(inflateInit_, int, Z_MEM_ERROR, ENOMEM, (z_streamp stream, const char *version, int size), (stream,     \
         version, size))                                                                                         \
    CALL(inflateInit2_, int, Z_MEM_ERROR, ENOMEM, (z_streamp stream, int bits, const char *version, int size),   \
         (stream, bits, version, size))                                                                          \
    CALL(protobuf_c_message_unpack, ProtobufCMessage *, NULL, ENOMEM, (const ProtobufCMessageDescriptor *kind,   \
         ProtobufCAllocator *allocator, size_t len, const uint8_t *data), (kind, allocator, len, data))          \
    CALL(MHD_create_response_from_buffer, struct MHD_Response *, NULL, ENOMEM, (size_t len, void *data,          \
         enum MHD_ResponseMemoryMode mode), (len, data, mode))                                                   \
    CALL(MHD_add_response_header, enum MHD_Result, MHD_NO, ENOMEM, (struct MHD_Response *response,               \
         const char *name, const char *value), (response, name, value))                                          \
    CALL(MHD_queue_response, enum MHD_Result, MHD_NO, ENOMEM, (struct MHD_Connection *connection, unsigned code, \
         struct MHD_Response *response), (connection, code, response))                                           \
    CALL(MHD_add_connection, enum MHD_Result, (close(fd), MHD_NO), ENOMEM, (struct MHD_Daemon *daemon, int fd,   \
         const struct sockaddr *address, socklen_t len), (daemon, fd, address, len))                             \
    /* the end */
/* clang-format on */

/* Those with a variable number of arguments. */
#define INJECT_VARIADIC(CALL) CALL(asprintf) CALL(open) CALL(epoll_ctl) CALL(MHD_start_daemon)

#endif
