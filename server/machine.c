#include "server/machine.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* /proc/self/cgroup has a line for each hierarchy ("4:memory:/a/b", v2's "0::/a/b") with the process's group in it, as its
 * cgroup namespace shows it. /proc/self/mountinfo tells where the hierarchies are mounted, and which of their groups is
 * seen there as the mount's root. The group's folder is the mount point and what its path has beyond that root; from there
 * every folder up to the mount point may have limits.
 *
 * A path that does not lie under the root that is mounted (a container that shares the host's namespace, but not its
 * mounts) leaves the mount point itself: a container's runtime mounts the container's own group there. */

enum { PROCESSORS_MAX = 1 << 16, MILLIS = 1000 };

/* v1 writes "no limit" as the largest number of whole pages, and no machine has half of that. */
static const uint64_t NO_LIMIT = UINT64_C(1) << 62;

enum controller { CONTROLLER_V2, CONTROLLER_V1_CPU, CONTROLLER_V1_MEMORY, CONTROLLER_COUNT };

static const char *const v1_names[CONTROLLER_COUNT] = {
    [CONTROLLER_V1_CPU] = "cpu", [CONTROLLER_V1_MEMORY] = "memory"};

/* Where one controller's files are for this process. */
struct place {
    const char *tree;           /* machine_read's root, in front of every path */
    char group[PATH_MAX];       /* from /proc/self/cgroup; empty: no such line */
    char mount_point[PATH_MAX]; /* empty: not mounted */
    char folder[PATH_MAX];      /* the group's, with the mount point in front */
    bool found;                 /* the group lies under the mount's root */
};

/* ---- numbers ---- */

/* A decimal number and nothing else, up to a blank or the end of the line. False for "max", -1, and what is none. */
static bool read_number(const char *text, uint64_t *ret, const char **ret_end)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || (*end && *end != ' ' && *end != '\n'))
        return false;
    *ret = value;
    *ret_end = end;
    return true;
}

static void keep_smaller(uint64_t *limit, uint64_t value)
{
    if (*limit == 0 || value < *limit)
        *limit = value;
}

static void keep_quota(struct machine *machine, uint64_t quota_us, uint64_t period_us)
{
    if (quota_us == 0 || period_us == 0 || quota_us > UINT64_MAX / MILLIS)
        return;
    uint64_t millis = quota_us * MILLIS / period_us;
    keep_smaller(&machine->quota_millis, millis ? millis : 1);
}

/* ---- files of a group ---- */

/* The first line of folder/name. False if there is none. */
static bool read_line(const char *folder, const char *name, char *dst, int size)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return false;
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool ok = fgets(dst, size, file) != NULL;
    fclose(file);
    return ok;
}

static bool read_number_file(const char *folder, const char *name, uint64_t *ret)
{
    char text[64];
    const char *end;
    return read_line(folder, name, text, sizeof text) && read_number(text, ret, &end);
}

static void read_memory_file(const char *folder, const char *name, struct machine *machine)
{
    uint64_t bytes;
    if (read_number_file(folder, name, &bytes) && bytes > 0 && bytes < NO_LIMIT)
        keep_smaller(&machine->memory_bytes, bytes);
}

/* "200000 100000": quota and period in microseconds; "max 100000": no quota. */
static void read_v2_group(const char *folder, struct machine *machine)
{
    char text[64];
    uint64_t quota, period;
    const char *end;
    if (read_line(folder, "cpu.max", text, sizeof text) && read_number(text, &quota, &end) && *end == ' ' &&
        read_number(end + 1, &period, &end))
        keep_quota(machine, quota, period);
    read_memory_file(folder, "memory.max", machine);
    read_memory_file(folder, "memory.high",
                     machine); /* beyond it the kernel slows the process down until it crawls */
}

static void read_group(enum controller controller, const char *folder, struct machine *machine)
{
    uint64_t quota, period;
    switch (controller) {
    case CONTROLLER_V2: read_v2_group(folder, machine); break;
    case CONTROLLER_V1_CPU:
        if (read_number_file(folder, "cpu.cfs_quota_us", &quota) &&
            read_number_file(folder, "cpu.cfs_period_us", &period))
            keep_quota(machine, quota, period);
        break;
    default: read_memory_file(folder, "memory.limit_in_bytes", machine);
    }
}

/* From the process's group up to the mount point. */
static void read_groups(enum controller controller, struct place *place, struct machine *machine)
{
    size_t top = strlen(place->mount_point);
    if (!top || !*place->group)
        return;
    for (;;) {
        read_group(controller, place->folder, machine);
        char *slash = strrchr(place->folder + top, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

/* ---- /proc/self/cgroup ---- */

/* Whether `name` is one of the words between commas. */
static bool list_has(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, len) == 0 && (at[len] == ',' || !at[len]))
            return true;
    }
    return false;
}

static bool line_is_of(enum controller controller, const char *id, const char *controllers)
{
    return controller == CONTROLLER_V2 ? strcmp(id, "0") == 0 && !*controllers
                                       : list_has(controllers, v1_names[controller]);
}

/* Calls take(places, line) with each line of the file, its newline taken off. */
static void read_lines(const char *root, const char *name, void (*take)(struct place *places, char *line),
                       struct place *places)
{
    char path[PATH_MAX], *line = NULL;
    size_t size = 0;
    if (snprintf(path, sizeof path, "%s/proc/self/%s", root, name) >= (int)sizeof path)
        return;
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        take(places, line);
    }
    free(line);
    fclose(file);
}

/* "4:memory:/a/b"; the path may hold colons. */
static void take_cgroup_line(struct place *places, char *line)
{
    char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path || path[1] != '/' || strlen(path + 1) >= PATH_MAX)
        return;
    *controllers++ = *path++ = '\0';
    for (size_t i = 0; i < CONTROLLER_COUNT; i++)
        if (!*places[i].group && line_is_of((enum controller)i, line, controllers))
            snprintf(places[i].group, PATH_MAX, "%s", path);
}

/* ---- /proc/self/mountinfo ---- */

struct mount {
    char *root, *mount_point; /* the group that is seen as the mount's root, and where */
    const char *type, *options;
};

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* Undoes \040 and the like, which stand for blanks, tabs, newlines and backslashes. */
static void unescape(char *text)
{
    char *out = text;
    for (const char *at = text; *at; out++) {
        if (at[0] == '\\' && is_octal(at[1]) && is_octal(at[2]) && is_octal(at[3])) {
            *out = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
            at += 4;
        } else {
            *out = *at++;
        }
    }
    *out = '\0';
}

/* "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory" */
static bool split_mount(char *line, struct mount *ret)
{
    char *rest = strstr(line, " - "), *words[5] = {0}, *next = line;
    if (!rest)
        return false;
    *rest = '\0';
    for (size_t i = 0; i < 5 && next; i++)
        words[i] = strsep(&next, " ");
    char *type = rest + 3, *options = strrchr(type, ' ');
    if (!words[4] || !options)
        return false;
    type[strcspn(type, " ")] = '\0';
    unescape(words[3]);
    unescape(words[4]);
    *ret = (struct mount){words[3], words[4], type, options + 1};
    return true;
}

static bool mount_is_of(enum controller controller, const struct mount *mount)
{
    if (controller == CONTROLLER_V2)
        return strcmp(mount->type, "cgroup2") == 0;
    return strcmp(mount->type, "cgroup") == 0 && list_has(mount->options, v1_names[controller]);
}

/* What the group's path has beyond the mount's root, "" or "/b/c"; NULL if it does not lie under it. */
static const char *below(const char *root, const char *group)
{
    size_t len = strcmp(root, "/") == 0 ? 0 : strlen(root);
    if (strncmp(root, group, len) != 0 || (group[len] && group[len] != '/') || strstr(group + len, "/.."))
        return NULL;
    return strcmp(group + len, "/") == 0 ? "" : group + len;
}

/* The first mount whose root the group lies under is the one, or else the first of all. */
static void use_mount(struct place *place, const struct mount *mount)
{
    const char *rest = below(mount->root, place->group);
    if (*place->mount_point && (place->found || !rest))
        return;
    if (strlen(place->tree) + strlen(mount->mount_point) + (rest ? strlen(rest) : 0) >= PATH_MAX)
        return;
    place->found = rest != NULL;
    snprintf(place->mount_point, PATH_MAX, "%s%s", place->tree, mount->mount_point);
    snprintf(place->folder, PATH_MAX, "%s%s%s", place->tree, mount->mount_point, rest ? rest : "");
}

static void take_mount_line(struct place *places, char *line)
{
    struct mount mount;
    if (!split_mount(line, &mount))
        return;
    for (size_t i = 0; i < CONTROLLER_COUNT; i++)
        if (mount_is_of((enum controller)i, &mount))
            use_mount(&places[i], &mount);
}

/* ---- the machine ---- */

static size_t affinity_processors(void)
{
    for (size_t size = CPU_SETSIZE; size <= PROCESSORS_MAX; size *= 2) {
        cpu_set_t *set = CPU_ALLOC(size);
        if (!set)
            return 1;
        bool ok = sched_getaffinity(0, CPU_ALLOC_SIZE(size), set) == 0;
        int count = ok ? CPU_COUNT_S(CPU_ALLOC_SIZE(size), set) : 1;
        CPU_FREE(set);
        if (ok || errno != EINVAL) /* EINVAL: the kernel's set is larger */
            return count > 0 ? (size_t)count : 1;
    }
    return 1;
}

static size_t usable_processors(const struct machine *machine)
{
    uint64_t quota = machine->quota_millis / MILLIS + (machine->quota_millis % MILLIS != 0);
    return quota && quota < machine->affinity_processors ? (size_t)quota : machine->affinity_processors;
}

void machine_read(const char *root, struct machine *ret)
{
    struct machine machine = {.affinity_processors = affinity_processors()};
    struct place places[CONTROLLER_COUNT] = {0};
    for (size_t i = 0; i < CONTROLLER_COUNT; i++)
        places[i].tree = root;
    read_lines(root, "cgroup", take_cgroup_line, places);
    read_lines(root, "mountinfo", take_mount_line, places);
    for (size_t i = 0; i < CONTROLLER_COUNT; i++)
        read_groups((enum controller)i, &places[i], &machine);
    machine.processors = usable_processors(&machine);
    *ret = machine;
}
