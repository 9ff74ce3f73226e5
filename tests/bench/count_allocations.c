/* Counts the heap allocations that the program itself asks for, not those of its libraries: preloaded (LD_PRELOAD), it
 * keeps their number in the first eight bytes of the file that COUNT_ALLOCATIONS_FILE names, which is there and as long.
 * A call is the program's own when it returns into the program's own code. glibc only.
 */
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own names of what is replaced here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static uintptr_t program_start, program_end;
static atomic_ulong *allocations; /* in the file */

static void count_call(const void *caller)
{
    uintptr_t address = (uintptr_t)caller;
    if (allocations && address >= program_start && address < program_end)
        atomic_fetch_add_explicit(allocations, 1, memory_order_relaxed);
}

/* The first object is the program. */
static int find_program(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    program_start = UINTPTR_MAX;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr, end = start + segment->p_memsz;
        if (segment->p_type != PT_LOAD)
            continue;
        program_start = start < program_start ? start : program_start;
        program_end = end > program_end ? end : program_end;
    }
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("COUNT_ALLOCATIONS_FILE");
    int fd = path ? open(path, O_RDWR) : -1;
    void *counter = fd < 0 ? MAP_FAILED
                           : mmap(NULL, sizeof *allocations, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (counter == MAP_FAILED)
        _exit(3);
    close(fd);
    dl_iterate_phdr(find_program, NULL);
    allocations = counter;
}

/* The C library names the parameters otherwise. NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

void *malloc(size_t size)
{
    count_call(__builtin_return_address(0));
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    count_call(__builtin_return_address(0));
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    count_call(__builtin_return_address(0));
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count_call(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}

char *strdup(const char *text)
{
    count_call(__builtin_return_address(0));
    size_t size = strlen(text) + 1;
    char *copy = __libc_malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

char *strndup(const char *text, size_t max)
{
    count_call(__builtin_return_address(0));
    size_t len = strnlen(text, max);
    char *copy = __libc_malloc(len + 1);
    if (!copy)
        return NULL;
    copy[len] = '\0';
    return memcpy(copy, text, len);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
