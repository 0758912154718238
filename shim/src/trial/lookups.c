/* Looks things up by every function that has a fast path and shows the answers. With
 * a second argument, the cookie, lookups without it fail with EDEADLK from the start,
 * and after each answer it is checked that the cookie is gone. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

extern int __xstat(int, const char *, struct stat *), __lxstat(int, const char *, struct stat *);
extern int __fxstatat(int, int, const char *, struct stat *, int), __fxstat(int, int, struct stat *);
extern int __open_2(const char *, int), __openat64_2(int, const char *, int);
extern ssize_t __readlink_chk(const char *, char *, size_t, size_t);
extern char *__realpath_chk(const char *, char *, size_t);

static const char *path, *root;
static int trapped;
static unsigned long cookie;

/* Reading it might change the time that marks it as a placeholder. */
static int is_new(void)
{
    return strstr(path, "a/new") != NULL;
}

static void said(const char *call, long result)
{
    int error = errno;
    if (trapped && (removexattr("/", "user.none") != -1 || errno != EDEADLK))
        printf("COOKIE LEFT BEHIND\n");
    printf("%s(%.40s) = %ld errno %d ", call, path, result, error);
}

static void show_stat(const char *call, int result, struct stat *s)
{
    said(call, result);
    if (!result)
        printf("%o %ld %ld %d %s", s->st_mode, (long)s->st_ino, S_ISDIR(s->st_mode) ? 0 : (long)s->st_size, s->st_uid,
               s->st_atime < 0 ? "marked" : "plain");
    puts("");
}

static void show_fd(const char *call, int fd, int flags)
{
    char text[40] = "";
    said(call, fd < 0 ? fd : 0);
    if (fd >= 0) {
        ssize_t n = flags & O_PATH || is_new() ? 0 : read(fd, text, sizeof text - 1);
        printf("%zd %s %d", n, text, fcntl(fd, F_GETFD));
        close(fd);
    }
    puts("");
}

static void show_text(const char *call, const char *result, const char *buf)
{
    size_t len = strlen(root);
    if (result)
        errno = 77; /* libc's own readlinks leave what they like */
    said(call, result ? (result == buf ? 1 : 2) : 0);
    if (!result)
        result = buf;
    printf("%s\n", result && !strncmp(result, root, len) ? result + len : result ? result : "-");
}

#define CALL(what) (errno = 77, (what))

static void look(void)
{
    struct stat s;
    struct statx x;
    char buf[4096];
    int r;
    FILE *f;
    DIR *d;
    char *t;
    struct statfs fs;
    r = CALL(stat(path, &s)), show_stat("stat", r, &s);
    r = CALL(lstat(path, &s)), show_stat("lstat", r, &s);
    r = CALL(fstatat(AT_FDCWD, path, &s, 0)), show_stat("fstatat", r, &s);
    r = CALL(__xstat(1, path, &s)), show_stat("__xstat", r, &s);
    r = CALL(__lxstat(1, path, &s)), show_stat("__lxstat", r, &s);
    r = CALL(__fxstatat(1, AT_FDCWD, path, &s, AT_SYMLINK_NOFOLLOW)), show_stat("__fxstatat", r, &s);
    r = CALL(statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &x)), said("statx", r), printf("%o\n", r ? 0 : x.stx_mode);
    r = CALL(access(path, R_OK)), said("access r", r), puts("");
    r = CALL(access(path, X_OK)), said("access x", r), puts("");
    r = CALL(eaccess(path, W_OK)), said("eaccess", r), puts("");
    r = CALL(faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW)), said("faccessat", r), puts("");
    memset(buf, 0, sizeof buf), r = CALL(readlink(path, buf, 5)), said("readlink", r), puts(buf);
    memset(buf, 0, sizeof buf), r = CALL(__readlink_chk(path, buf, 90, 99)), said("__readlink_chk", r), puts(buf);
    r = CALL(open(path, O_RDONLY)), show_fd("open", r, 0);
    r = CALL(__open_2(path, O_RDONLY | O_CLOEXEC)), show_fd("__open_2", r, 0);
    r = CALL(__openat64_2(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW)), show_fd("__openat64_2", r, 0);
    r = CALL(openat(AT_FDCWD, path, O_PATH | O_NOFOLLOW)), show_fd("openat", r, O_PATH);
    r = CALL(open64(path, O_RDONLY | O_DIRECTORY)), show_fd("open64", r, 0);
    d = CALL(opendir(path)), said("opendir", !!d), printf("%d\n", d && readdir(d) ? closedir(d) : 9);
    for (const char **mode = (const char *[]){"r", "rb", "re", "rbe", "r,ccs=UTF-8", "q", NULL}; *mode; mode++) {
        if (trapped && mode[0][0] != 'r' || trapped && mode[0][1] == ',')
            continue;
        f = CALL(fopen(path, *mode)), said("fopen", !!f);
        buf[0] = 0, printf("%d %s\n", f ? fcntl(fileno(f), F_GETFD) : 9, f && !trapped && !is_new() && fgets(buf, 40, f) ? buf : "");
        if (f)
            fclose(f);
    }
    strcpy(buf, "before"), t = CALL(realpath(path, buf)), show_text("realpath", t, buf);
    strcpy(buf, "before"), t = CALL(__realpath_chk(path, buf, 4096)), show_text("__realpath_chk", t, buf);
    t = CALL(realpath(path, NULL)), show_text("realpath null", t, NULL), free(t);
    t = CALL(canonicalize_file_name(path)), show_text("canonicalize_file_name", t, NULL), free(t);
    r = CALL(statfs(path, &fs)), said("statfs", r), printf("%lx\n", r ? 0 : (long)fs.f_type);
    r = CALL(getxattr(path, "user.none", buf, 9)), said("getxattr", r), puts("");
    r = CALL(lgetxattr(path, "user.none", buf, 9)), said("lgetxattr", r), puts("");
    r = CALL(listxattr(path, buf, sizeof buf)), said("listxattr", r), puts("");
    r = CALL(llistxattr(path, buf, sizeof buf)), said("llistxattr", r), puts("");
    /* What the caller's stack holds where a sixth argument would be is not given away. */
    r = CALL(syscall(SYS_newfstatat, AT_FDCWD, path, &s, 0, 0, cookie)), show_stat("syscall", r, &s);
    r = CALL(syscall(SYS_readlinkat, AT_FDCWD, path, buf, 1, 0, cookie)), said("syscall", r), puts("");
    r = CALL(syscall(SYS_statfs, path, &fs, 0, 0, 0, cookie)), said("syscall", r), puts("");
    r = CALL(syscall(SYS_getpriority, 0, 0, 0, 0, 0, cookie)), said("syscall of no path", r), puts("");
}

static void trap(void)
{
    static const int calls[] = {SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_openat, SYS_newfstatat,
                                SYS_faccessat, SYS_readlinkat, SYS_statx, SYS_faccessat2, SYS_getxattr,
                                SYS_lgetxattr, SYS_listxattr, SYS_llistxattr, SYS_statfs, SYS_removexattr};
    enum { N = sizeof calls / sizeof *calls };
    struct sock_filter code[N + 8];
    int at = 0;
    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < N; i++)
        code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], N - i, 0);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5]));
    code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)cookie, 0, 3);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5]) + 4);
    code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(cookie >> 32), 0, 1);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDEADLK);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog){at, code}))
        perror("seccomp"), exit(1);
    trapped = 1;
}

int main(int argc, char **argv)
{
    static char longest[6000], text[4096];
    root = argv[1];
    chdir(root);
    setvbuf(stdout, malloc(1 << 20), _IOFBF, 1 << 20);
    if (argc > 2) {
        cookie = strtoul(argv[2], NULL, 16);
        trap();
        for (int i = 3; i < argc; i++)
            path = argv[i], look();
        return 0;
    }
    static const char *paths[] = {
        "a/file", "./a/file", "a//file", "a/dir/../file", "a/missing", "a/empty", "a/link", "a/dangling", "a/out",
        "a/dir", "a/dir/", "a/dir/.", "a/dir/..", "a/dirlink", "a/dirlink/inner", "a/file/x", "a/file/", "a/loop",
        "a/closed", "a/closed/x", "a/new", "b/file", "b/missing", "missing/x", "a/none/x/y",
        "a/dir/none/x", "a/file/x/y", "a/link/x", "", ".", "..", "/", "/dev/null", "top", NULL};
    for (const char **p = paths; *p; p++)
        path = *p, look();
    for (const char **p = paths; *p; p++)
        snprintf(text, sizeof text, "%s/%s", root, *p), path = text, look();
    memset(longest, 'x', sizeof longest - 1), memcpy(longest, "a/", 2), path = longest, look();
    longest[300] = 0, look();
    return 0;
}
