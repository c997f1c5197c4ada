/* Preloaded into a process: lets a share of the writes and moves below a folder fail with EIO.
   FAILING_UNDER the folder, FAILING_SHARE the share, FAILING_LOG a file that gets a byte a failure. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int fails(const char *path)
{
    static __thread unsigned state;
    const char *under = getenv("FAILING_UNDER"), *share = getenv("FAILING_SHARE");
    if (!under || !share || strncmp(path, under, strlen(under)))
        return 0;
    if (!state) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        state = (unsigned)now.tv_nsec ^ (unsigned)getpid() * 2654435761u;
    }
    if (rand_r(&state) >= atof(share) * RAND_MAX)
        return 0;
    int log = open(getenv("FAILING_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0644);
    syscall(SYS_write, log, "x", 1);
    close(log);
    errno = EIO;
    return 1;
}

ssize_t write(int file, const void *content, size_t size)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        if (fails(path))
            return -1;
    }
    return syscall(SYS_write, file, content, size);
}

int rename(const char *from, const char *to)
{
    if (fails(to))
        return -1;
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
