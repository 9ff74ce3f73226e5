#include "server/machine.h"

#include <sched.h>

#include "tests/unit/engine/folder.h"

/* Each test makes a tree with /proc/self/cgroup, /proc/self/mountinfo and the hierarchies that they name. */
static char *tree;

/* Writes a file, whose path begins with a slash, and the folders that it lies in. */
static void put(const char *path, const char *text)
{
    char name[512];
    snprintf(name, sizeof name, "%s", path + 1);
    for (char *slash = name; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        char *folder = folder_path(tree, name);
        mkdir(folder, 0777);
        free(folder);
    }
    folder_write(tree, name, text);
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_CPU_MOUNT \
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:1 - cgroup cgroup rw,cpu,cpuacct\n"
#define V1_CPUSET_MOUNT  "33 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
#define V1_MEMORY_MOUNT  "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
#define V2_UNIFIED_MOUNT "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
#define OTHER_MOUNTS                                           \
    "23 1 254:0 / / rw,relatime - ext4 /dev/root rw,discard\n" \
    "24 23 0:5 / /sys/fs rw - sysfs sysfs rw,memory,cpu\n"

static void begin(const char *cgroup, const char *mountinfo)
{
    tree = folder_create();
    put("/proc/self/cgroup", cgroup);
    put("/proc/self/mountinfo", mountinfo);
}

/* Reads the machine and removes the tree. */
static struct machine end(void)
{
    struct machine machine;
    machine_read(tree, &machine);
    ck_assert_uint_ge(machine.processors, 1);
    ck_assert_uint_le(machine.processors, machine.affinity_processors);
    folder_remove(tree);
    return machine;
}

static void end_with(uint64_t quota_millis, uint64_t memory_bytes)
{
    const struct machine machine = end();
    ck_assert_uint_eq(machine.quota_millis, quota_millis);
    ck_assert_uint_eq(machine.memory_bytes, memory_bytes);
}

START_TEST(machine_has_this_threads_processors_where_nothing_limits_them)
{
    cpu_set_t set;
    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    begin("0::/\n", OTHER_MOUNTS V2_MOUNT);
    struct machine machine = end();
    ck_assert_uint_eq(machine.affinity_processors, (size_t)CPU_COUNT(&set));
    ck_assert_uint_eq(machine.processors, machine.affinity_processors);
    ck_assert_uint_eq(machine.quota_millis, 0);
    ck_assert_uint_eq(machine.memory_bytes, 0);
    while (CPU_COUNT(&set) > 1)
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET(cpu, &set) && CPU_COUNT(&set) > 1)
                CPU_CLR(cpu, &set);
    ck_assert_int_eq(sched_setaffinity(0, sizeof set, &set), 0);
    begin("0::/\n", V2_MOUNT);
    machine = end();
    ck_assert_uint_eq(machine.affinity_processors, 1);
}
END_TEST

START_TEST(machine_reads_the_limits_of_v2)
{
    begin("0::/mlpd.service\n", OTHER_MOUNTS V2_MOUNT);
    put("/sys/fs/cgroup/mlpd.service/cpu.max", "250000 100000\n");
    put("/sys/fs/cgroup/mlpd.service/memory.max", "1073741824\n");
    end_with(2500, 1 << 30);
}
END_TEST

START_TEST(machine_reads_a_container_with_a_namespace_of_its_own)
{
    begin("0::/\n", V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    put("/sys/fs/cgroup/memory.max", "268435456\n");
    end_with(500, 256 << 20);
}
END_TEST

START_TEST(machine_takes_the_smallest_limit_on_the_way_up)
{
    begin("0::/kubepods.slice/pod1/app\n", V2_MOUNT);
    put("/sys/fs/cgroup/kubepods.slice/cpu.max", "400000 100000\n");
    put("/sys/fs/cgroup/kubepods.slice/memory.max", "4294967296\n");
    put("/sys/fs/cgroup/kubepods.slice/pod1/cpu.max", "150000 50000\n");
    put("/sys/fs/cgroup/kubepods.slice/pod1/memory.max", "2147483648\n");
    put("/sys/fs/cgroup/kubepods.slice/pod1/app/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/kubepods.slice/pod1/app/memory.max", "max\n");
    put("/sys/fs/cgroup/kubepods.slice/pod2/memory.max", "1\n"); /* a neighbour */
    end_with(3000, (uint64_t)2 << 30);
}
END_TEST

START_TEST(machine_heeds_memory_high)
{
    begin("0::/a\n", V2_MOUNT);
    put("/sys/fs/cgroup/a/memory.max", "1073741824\n");
    put("/sys/fs/cgroup/a/memory.high", "536870912\n");
    end_with(0, 512 << 20);
}
END_TEST

START_TEST(machine_finds_no_limit_in_max)
{
    begin("0::/a\n", V2_MOUNT);
    put("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.high", "max\n");
    end_with(0, 0);
}
END_TEST

START_TEST(machine_reads_the_limits_of_v1)
{
    begin("12:memory:/user.slice/a\n4:cpu,cpuacct:/b\n3:cpuset:/c\n1:name=systemd:/d\n",
          V1_CPUSET_MOUNT V1_CPU_MOUNT OTHER_MOUNTS V1_MEMORY_MOUNT);
    put("/sys/fs/cgroup/cpu,cpuacct/b/cpu.cfs_quota_us", "75000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/b/cpu.cfs_period_us", "50000\n");
    put("/sys/fs/cgroup/cpuset/b/cpu.cfs_quota_us", "1000\n");
    put("/sys/fs/cgroup/cpuset/b/cpu.cfs_period_us", "50000\n");
    put("/sys/fs/cgroup/memory/user.slice/a/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/user.slice/memory.limit_in_bytes", "8589934592\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    end_with(1500, (uint64_t)8 << 30);
}
END_TEST

START_TEST(machine_finds_no_limit_in_v1s_minus_one_and_giant)
{
    static const char *const giants[] = {"9223372036854771712\n", "9223372036854775807\n", "18446744073709551615\n",
                                         "9223372036854710272\n"}; /* the last with pages of 64 KiB */
    for (size_t i = 0; i < sizeof giants / sizeof *giants; i++) {
        begin("4:memory:/a\n1:cpu:/a\n", V1_CPU_MOUNT V1_MEMORY_MOUNT);
        put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
        put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
        put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", giants[i]);
        end_with(0, 0);
    }
}
END_TEST

START_TEST(machine_reads_a_v1_container_that_sees_the_hosts_paths)
{
    begin("4:memory:/docker/0123/inner\n1:cpu:/docker/0123\n",
          "32 31 0:29 /docker/0123 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
          "35 31 0:32 /docker/0123 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "1048576\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4194304\n");
    end_with(2000, 1 << 20);
}
END_TEST

START_TEST(machine_reads_the_mount_itself_where_the_path_lies_outside_of_it)
{
    static const char *const paths[] = {"0::/docker/4567\n", "0::/../../system.slice\n", "0::/docker/01234/x\n",
                                        "0::/\n"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        begin(paths[i], "30 23 0:26 /docker/0123 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        put("/sys/fs/cgroup/cpu.max", "100000 100000\n");
        put("/sys/fs/cgroup/memory.max", "1000000\n");
        put("/system.slice/memory.max", "1\n");
        end_with(1000, 1000000);
    }
}
END_TEST

START_TEST(machine_prefers_the_mount_that_its_path_lies_under)
{
    begin("0::/pods/a\n", "30 23 0:26 /other /mnt/first rw - cgroup2 cgroup2 rw\n"
                          "31 23 0:26 /pods /mnt/second rw - cgroup2 cgroup2 rw\n"
                          "32 23 0:26 / /mnt/third rw - cgroup2 cgroup2 rw\n");
    put("/mnt/first/memory.max", "1\n");
    put("/mnt/second/a/memory.max", "2000\n");
    put("/mnt/third/pods/a/memory.max", "3\n");
    end_with(0, 2000);
}
END_TEST

START_TEST(machine_reads_both_hierarchies_beside_each_other)
{
    begin("9:name=systemd:/\n4:memory:/app\n1:cpu:/\n0::/app\n", V1_CPU_MOUNT V1_MEMORY_MOUNT V2_UNIFIED_MOUNT);
    put("/sys/fs/cgroup/unified/app/cpu.max", "300000 100000\n");
    put("/sys/fs/cgroup/memory/app/memory.limit_in_bytes", "1000000000\n");
    end_with(3000, 1000000000);
}
END_TEST

START_TEST(machine_finds_mount_points_with_blanks)
{
    begin("0::/a\n", "30 23 0:26 / /my\\040cgroups\\134x rw - cgroup2  rw\n");
    put("/my cgroups\\x/a/memory.max", "4096\n");
    end_with(0, 4096);
}
END_TEST

START_TEST(machine_rounds_a_quota_up_to_whole_processors)
{
    static const struct {
        const char *cpu_max;
        uint64_t millis;
        size_t processors; /* if the machine has as many */
    } cases[] = {
        {"1000 100000\n", 10, 1},   {"1 1000000\n", 1, 1},           {"100000 100000\n", 1000, 1},
        {"100001 100000", 1000, 1}, {"101000 100000\n", 1010, 2},    {"200000 100000\n", 2000, 2},
        {"1 1\n", 1000, 1},         {"18446744073709551\n", 0, 999}, {"18446744073709551615 1\n", 0, 999},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin("0::/\n", V2_MOUNT);
        put("/sys/fs/cgroup/cpu.max", cases[i].cpu_max);
        const struct machine machine = end();
        size_t most = machine.affinity_processors;
        ck_assert_uint_eq(machine.quota_millis, cases[i].millis);
        ck_assert_uint_eq(machine.processors, cases[i].processors < most ? cases[i].processors : most);
    }
}
END_TEST

START_TEST(machine_is_not_limited_by_what_it_cannot_understand)
{
    static const char *const texts[] = {"",
                                        "\n",
                                        "x\n",
                                        "12x\n",
                                        "-5\n",
                                        " 5\n",
                                        "+5\n",
                                        "0x10\n",
                                        "0\n",
                                        "max max\n",
                                        "0 0\n",
                                        "5 0\n",
                                        "5 x\n",
                                        "1e9 1\n",
                                        "99999999999999999999999\n",
                                        "999999999999999999999999 100000\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        begin("0::/a\n4:memory:/a\n1:cpu:/a\n", V2_UNIFIED_MOUNT V1_CPU_MOUNT V1_MEMORY_MOUNT);
        put("/sys/fs/cgroup/unified/a/cpu.max", texts[i]);
        put("/sys/fs/cgroup/unified/a/memory.max", strchr(texts[i], ' ') ? "x" : texts[i]);
        put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", strchr(texts[i], ' ') ? "x" : texts[i]);
        put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
        put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", strchr(texts[i], ' ') ? "x" : texts[i]);
        end_with(0, 0);
    }
}
END_TEST

START_TEST(machine_survives_lines_that_are_none)
{
    static char long_path[3 * 4096], long_mount[4 * 4096];
    memset(long_path, 'x', sizeof long_path - 1);
    memcpy(long_path, "0::/", 4);
    snprintf(long_mount, sizeof long_mount, "30 23 0:26 / /%s rw - cgroup2 cgroup2 rw\n", long_path);
    static const char *const cgroups[] = {"", "\n", "0\n", "0:\n", "0::\n", "0::a\n", ":::\n", "0::/a", long_path};
    const char *const mountinfos[] = {"",
                                      "\n",
                                      " - \n",
                                      " - cgroup2\n",
                                      "30 23 - cgroup2 cgroup2 rw\n",
                                      "30 23 0:26 / /sys/fs/cgroup rw\n",
                                      "30 23 0:26 / /sys/fs/cgroup\\9\\ rw - cgroup2 cgroup2 rw\n",
                                      "30 23 0:26 / - cgroup2 cgroup2 rw\n",
                                      long_mount};
    for (size_t i = 0; i < sizeof cgroups / sizeof *cgroups; i++)
        for (size_t j = 0; j < sizeof mountinfos / sizeof *mountinfos; j++) {
            begin(cgroups[i], mountinfos[j]);
            end_with(0, 0);
        }
}
END_TEST

START_TEST(machine_is_not_limited_where_proc_is_missing)
{
    tree = folder_create();
    end_with(0, 0);
    struct machine machine;
    machine_read("/nowhere", &machine);
    ck_assert_uint_eq(machine.processors, machine.affinity_processors);
}
END_TEST

START_TEST(machine_reads_the_one_that_it_runs_on)
{
    struct machine machine;
    machine_read("", &machine);
    ck_assert_uint_ge(machine.processors, 1);
    ck_assert(machine.memory_bytes == 0 || machine.memory_bytes > 4096);
}
END_TEST

UNIT_MAIN("server/machine", machine_has_this_threads_processors_where_nothing_limits_them,
          machine_reads_the_limits_of_v2, machine_reads_a_container_with_a_namespace_of_its_own,
          machine_takes_the_smallest_limit_on_the_way_up, machine_heeds_memory_high, machine_finds_no_limit_in_max,
          machine_reads_the_limits_of_v1, machine_finds_no_limit_in_v1s_minus_one_and_giant,
          machine_reads_a_v1_container_that_sees_the_hosts_paths,
          machine_reads_the_mount_itself_where_the_path_lies_outside_of_it,
          machine_prefers_the_mount_that_its_path_lies_under, machine_reads_both_hierarchies_beside_each_other,
          machine_finds_mount_points_with_blanks, machine_rounds_a_quota_up_to_whole_processors,
          machine_is_not_limited_by_what_it_cannot_understand, machine_survives_lines_that_are_none,
          machine_is_not_limited_where_proc_is_missing, machine_reads_the_one_that_it_runs_on)
