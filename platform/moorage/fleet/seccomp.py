"""The system calls that a runner may make: a list of what engines need, and everything else is refused. Pure.

Narrower than what Docker allows by default. Docker lets any container trace processes, queue work through io_uring,
hold keys and open every kind of socket, also those that a network namespace does not confine (AF_VSOCK reaches a
virtual machine's host past ``network none``). An engine reads a model, computes, and answers on a Unix socket: it
needs files, memory, threads, time, and sockets of four families. ``tests/fleet/test_seccomp.py`` runs both engines
under it.

The document is the one of https://github.com/opencontainers/runtime-spec (``linux.seccomp``) in Docker's spelling. A
name that a machine does not have (``open`` on ARM) is left out by the runtime. Calls for 32-bit programs are all
refused.
"""

import hashlib
import json
from typing import Any, Final

#: Reading, writing and arranging files; what they are called, who owns them, what changes in them.
_FILES: Final = """
    access chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fallocate
    fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr
    fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr llistxattr lremovexattr lseek lsetxattr
    lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev
    pwritev2 read readahead readlink readlinkat readv removexattr rename renameat renameat2 rmdir sendfile setxattr
    splice stat statfs statx symlink symlinkat sync sync_file_range syncfs tee truncate umask unlink unlinkat utime
    utimensat utimes vmsplice write writev chdir cachestat
"""
#: Memory, and segments of it that an engine's own processes share.
_MEMORY: Final = """
    brk madvise membarrier memfd_create mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall
    munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages map_shadow_stack
    shmat shmctl shmdt shmget semctl semget semop semtimedop msgctl msgget msgrcv msgsnd
"""
#: Threads, processes of its own, their limits and priorities, and waiting for them.
_PROCESSES: Final = """
    arch_prctl capget capset execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv futex_wake
    get_robust_list get_thread_area getcpu getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority
    getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get ioprio_set kill pidfd_open
    pidfd_send_signal prctl prlimit64 restart_syscall rseq sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_thread_area
    set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid
    setreuid setrlimit setsid setuid sysinfo tgkill times tkill uname vfork wait4 waitid landlock_add_rule
    landlock_create_ruleset landlock_restrict_self
"""
_SIGNALS: Final = """
    pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_tgsigqueueinfo sigaltstack signalfd signalfd4
"""
_TIME: Final = """
    alarm clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep time timer_create timer_delete
    timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
"""
#: Waiting for several things at once, and the randomness of their names.
_WAITING: Final = """
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 getrandom io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit poll ppoll pselect6 select
"""
#: Speaking on sockets that there are. Which there may be is decided where they are made.
_SPEAKING: Final = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg
    sendto setsockopt shutdown socketpair
"""
_ALLOWED: Final = (_FILES, _MEMORY, _PROCESSES, _SIGNALS, _TIME, _WAITING, _SPEAKING)

#: AF_UNIX; AF_INET and AF_INET6, on which vLLM's own processes meet on loopback; AF_NETLINK, with which they list it.
_FAMILIES: Final = (1, 2, 10, 16)
#: Every flag of clone(2) that makes a namespace (CLONE_NEWNS, -CGROUP, -UTS, -IPC, -USER, -PID, -NET).
_NAMESPACES: Final = 0x7E02_0000
_EPERM: Final = 1
_ENOSYS: Final = 38

#: What Docker would allow and this does not, with the reason; the probe inside a runner tries them.
REFUSED: Final = {
    "ptrace": "reads and changes other processes",
    "process_vm_readv": "reads other processes",
    "io_uring_setup": "has been a way out of containers again and again",
    "keyctl": "the kernel's keys are not confined by any namespace but users'",
    "bpf": "loads programs into the kernel",
    "perf_event_open": "measures other tenants",
    "userfaultfd": "stops the kernel half-way, which exploits use",
    "unshare": "makes namespaces, in which the whole of the kernel can be reached",
    "mount": "changes what files there are",
    "setns": "enters other namespaces",
    "name_to_handle_at": "the first half of reading files outside of the root",
    "clone3": "hides its flags from a filter; without it the C library uses clone",
}


def profile() -> dict[str, Any]:
    """The document, as Docker reads it from a ``seccomp=`` security option."""
    allow = "SCMP_ACT_ALLOW"
    names = sorted({name for group in _ALLOWED for name in group.split()})
    calls: list[dict[str, Any]] = [
        {"names": names, "action": allow, "args": []},
        *(
            {"names": ["socket"], "action": allow, "args": [{"index": 0, "value": family, "op": "SCMP_CMP_EQ"}]}
            for family in _FAMILIES
        ),
        {
            "names": ["clone"],
            "action": allow,
            "args": [{"index": 0, "value": _NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        },
        # Asking for the personality that one has, and for the usual one.
        *(
            {"names": ["personality"], "action": allow, "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]}
            for value in (0x0, 0xFFFF_FFFF)
        ),
        # Its flags are behind a pointer. "There is no such call" sends the C library to clone.
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS, "args": []},
    ]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": calls,
    }


#: Exactly what is sent, so that what the Engine says it has can be compared with it.
TEXT: Final = json.dumps(profile(), sort_keys=True, separators=(",", ":"))
#: 12 hex digits that name this version of the list.
DIGEST: Final = hashlib.sha256(TEXT.encode()).hexdigest()[:12]
