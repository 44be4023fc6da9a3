# Included by cmake right after ggml's project(): the arithmetic is optimized fully, whatever surrounds it.
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
set(CMAKE_C_FLAGS_RELEASE "-O3 -DNDEBUG")
