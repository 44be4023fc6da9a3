"""What an engine printed at its end becomes a sentence with what to do. The logs are the engines' own."""

from pathlib import Path

import pytest

from moorage.deployments.engine_failures import End, explain, last_word

LOGS = Path(__file__).parent / "engine_logs"
MIB = 2**20


def printed(name: str) -> tuple[str, ...]:
    return tuple((LOGS / f"{name}.txt").read_text().splitlines())


@pytest.mark.parametrize(
    ("name", "code", "said", "is_permanent"),
    [
        ("llamacpp_badflag", "flag_invalid", "It does not know --no-such-flag. Remove it", True),
        ("llamacpp_badint", "flag_invalid", "--parallel: not a number.", True),
        ("llamacpp_badvalue", "flag_invalid", "--cache-type-k: Unsupported cache type: q9_9.", True),
        ("llamacpp_ngl", "flag_invalid", "--device: invalid device: CUDA0.", True),
        ("llamacpp_grammar", "flag_invalid", "Correct the grammar", True),
        ("llamacpp_badtemplate", "template_broken", "the supplied chat template is not supported: {% if %}", True),
        ("llamacpp_arch", "model_unsupported", "does not know the architecture qlama.", True),
        ("llamacpp_truncated", "weights_unreadable", "failed to read key-value pairs", True),
        ("llamacpp_truncated2", "weights_unreadable", "data is not within the file bounds", True),
        ("llamacpp_magic", "weights_unreadable", "invalid magic characters: 'GGUX'", True),
        ("llamacpp_missing", "weights_unreadable", "A file that it needs is not in the model.", False),
        ("llamacpp_lora", "weights_unreadable", "failed to open 'none.gguf'", False),
        ("llamacpp_vmem", "out_of_memory", "Make context_size smaller", False),
        ("llamacpp_longsock", "socket_failed", "couldn't bind HTTP server socket", False),
        ("vllm_badflag", "flag_invalid", "It does not know --no-such-flag.", True),
        ("vllm_badvalue", "flag_invalid", "--max-num-seqs: invalid int value: 'many'.", True),
        ("vllm_badchoice", "flag_invalid", "--kv-cache-dtype: invalid choice: 'q9'", True),
        ("vllm_kv", "context_too_large", "Set context_size to 512 or less.", True),
        ("vllm_arch", "model_unsupported", "does not know the architecture foo.", True),
        ("vllm_arch2", "model_unsupported", "does not know the architecture FooForCausalLM.", True),
        ("vllm_quant", "model_unsupported", "not quantized in the way that --quantization says", True),
        ("vllm_tp", "model_unsupported", "divides the model's attention heads", True),
        ("vllm_toolparser", "flag_invalid", "There is no tool call parser nosuch.", True),
        ("vllm_tok", "weights_unreadable", "such as its tokenizer", True),
        ("vllm_nocfg", "weights_unreadable", "There is no config.json", True),
        ("vllm_sock", "socket_failed", "FileNotFoundError", False),
    ],
)
def test_what_engines_print_becomes_a_reason_and_an_advice(name: str, code: str, said: str, is_permanent: bool) -> None:
    why = explain(End(lines=printed(name), exit_code=1))

    assert (why.reason.code, why.is_permanent) == (code, is_permanent), why.detail
    assert said in why.detail


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (
            "ValueError: To serve at least one request with the models's max seq len (32768), (4.0 GiB KV cache is"
            " needed, which is larger than the available KV cache memory (1.5 GiB). Based on the available memory, the"
            " estimated maximum model length is 12288. Try increasing `gpu_memory_utilization`.",
            "context_too_large",
            "One request of 32,768 tokens needs more cache than there is: 4.0 GiB, and 1.5 GiB are there."
            " A context_size of 12,288 would fit.",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of"
            " 79.10 GiB of which 1.12 GiB is free. Process 7 has 77 GiB memory in use.",
            "out_of_device_memory",
            "It asked for 2.00 GiB more; 1.12 GiB of 79.10 GiB were free.",
        ),
        (
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000.00 MiB on device 0: cudaMalloc failed: out of"
            " memory",
            "out_of_device_memory",
            "Make context_size smaller",
        ),
        (
            "ValueError: Free memory on device (10.1/79.1 GiB) on startup is less than desired GPU memory utilization",
            "out_of_device_memory",
            "10.1 of 79.1 GiB of the GPU were free.",
        ),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "out_of_memory", "std::bad_alloc"),
    ],
)
def test_what_needs_a_gpu_or_a_large_model_is_known_by_the_engines_own_words(line: str, code: str, said: str) -> None:
    why = explain(End(lines=(line,), exit_code=1))

    assert why.reason.code == code
    assert said in why.detail


def test_an_end_by_the_kernel_names_the_peak_the_limit_and_what_to_change() -> None:
    why = explain(End(is_oom_killed=True, exit_code=137, peak_memory_bytes=508 * MIB, limit_bytes=512 * MIB))

    assert why.reason.code == "out_of_memory"
    assert why.detail.startswith("Its limit is 512 MiB and it was seen with 508 MiB.")
    for word in ("context_size", "slots", "quantization", "memory"):
        assert word in why.detail


@pytest.mark.parametrize(
    ("exit_code", "said"),
    [
        (137, "Ended by the signal SIGKILL (exit code 137). Something outside killed it."),
        (139, "Ended by the signal SIGSEGV (exit code 139)."),
        (132, "The node's CPU lacks what it was built for."),
        (3, "Exit code 3."),
        (0, "which an engine should never do"),
    ],
)
def test_an_end_that_nobody_knows_is_told_with_its_signal_and_its_last_word(exit_code: int, said: str) -> None:
    why = explain(
        End(lines=("all is well", "error: the keel is broken", "cleaning up before exit..."), exit_code=exit_code)
    )

    assert why.reason.code == "engine_exited" and not why.is_permanent
    assert said in why.detail
    assert "The engine's last word: error: the keel is broken" in why.detail


def test_one_that_said_nothing_has_no_last_word() -> None:
    assert last_word(()) == ""
