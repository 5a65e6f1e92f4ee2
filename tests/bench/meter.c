/* Runs a command and adds a line about its cost to a file: wall time, processor time, and the memory of its largest
 * process. It is small itself, since a process counts the memory of the one that it was forked from as its own.
 * Usage: meter FILE COMMAND [ARGUMENT...]     It ends as the command does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(struct timeval value) { return (double)value.tv_sec + (double)value.tv_usec / 1e6; }

static double since(struct timespec start)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
}

static int report(const char *path, double wall, const struct rusage *used, int status)
{
    char line[256];
    int length = snprintf(line, sizeof line, "{\"seconds\": %.6f, \"cpu\": %.6f, \"peak_kib\": %ld, \"status\": %d}\n",
                          wall, seconds_of(used->ru_utime) + seconds_of(used->ru_stime), used->ru_maxrss, status);
    /* One write of a whole line, as several may add to the same file. */
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    return file >= 0 && write(file, line, (size_t)length) == length && close(file) == 0;
}

int main(int count, char **words)
{
    if (count < 3) {
        fprintf(stderr, "usage: meter FILE COMMAND [ARGUMENT...]\n");
        return 3;
    }
    struct timespec start;
    struct rusage used;
    int ended;
    clock_gettime(CLOCK_MONOTONIC, &start);
    pid_t child = fork();
    if (child == 0) {
        /* Who ends the meter ends the command. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        execvp(words[2], words + 2);
        fprintf(stderr, "meter: %s: %s\n", words[2], strerror(errno));
        _exit(127);
    }
    if (child < 0 || wait4(child, &ended, 0, &used) < 0) {
        perror("meter");
        return 4;
    }
    int status = WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
    if (!report(words[1], since(start), &used, status)) {
        perror(words[1]);
        return 4;
    }
    return status;
}
