"""What becomes of each key of a Compose service: read, ignored with a warning, or refused with a reason.

Services are not run here, so most keys mean nothing. Refused are those that reach for other files, programs or the
machine itself: a file that asks for them expects something that will not happen.
"""

from collections.abc import Mapping

_OTHER_FILES = "Moorage reads this one file only. Write what you need into it and remove this."
_BUILD = "Moorage builds nothing. Build and push the image yourself and name it with image."
_MACHINE = "Moorage gives nobody power over its machines. Remove this."

READ = frozenset({"models", "provider"})

REFUSED: Mapping[str, str] = {
    "extends": _OTHER_FILES, "env_file": _OTHER_FILES, "label_file": _OTHER_FILES, "credential_spec": _OTHER_FILES,
    "build": _BUILD, "develop": _BUILD,
    **dict.fromkeys(
        (
            "privileged", "cap_add", "devices", "device_cgroup_rules", "security_opt", "pid", "ipc", "uts",
            "userns_mode", "cgroup", "cgroup_parent", "volumes_from", "use_api_socket", "runtime", "sysctls",
            "post_start", "pre_stop",
        ),
        _MACHINE,
    ),
}  # fmt: skip

IGNORED = frozenset(
    {
        "annotations", "attach", "blkio_config", "cap_drop", "command", "configs", "container_name", "cpu_count",
        "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares", "cpus", "cpuset",
        "depends_on", "deploy", "dns", "dns_opt", "dns_search", "domainname", "entrypoint", "environment", "expose",
        "external_links", "extra_hosts", "gpus", "group_add", "healthcheck", "hostname", "image", "init", "isolation",
        "labels", "links", "logging", "mac_address", "mem_limit", "mem_reservation", "mem_swappiness",
        "memswap_limit", "network_mode", "networks", "oom_kill_disable", "oom_score_adj", "pids_limit", "platform",
        "ports", "profiles", "pull_policy", "pull_refresh_after", "read_only", "restart", "scale", "secrets",
        "shm_size", "stdin_open", "stop_grace_period", "stop_signal", "storage_opt", "tmpfs", "tty", "ulimits",
        "user", "volumes", "working_dir",
    }
)  # fmt: skip
