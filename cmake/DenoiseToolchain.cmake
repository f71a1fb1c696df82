# The compiler's settings for our own code: C++20, warnings as errors, sanitizers, and whatever
# makes builds quick.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

option(DENOISE_WERROR "Treat warnings in our code as errors" ON)
set(DENOISE_SANITIZE "" CACHE STRING "Sanitizers to build with: address,undefined, thread, or the fuzz preset's")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # Paths below the repository are hashed relative to it, so that clones share what they compiled.
  # (With debug lines these may name the folder of another clone.)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_INODECACHE=1  # for precompiled headers
      ${CCACHE_PROGRAM})
endif()

# Several times faster than the system's linker. (So is mold, but 1.10 lays out some programs so
# that they do not start: "cannot apply additional memory protection after relocation".)
find_program(LLD_PROGRAM NAMES ld.lld)
if(LLD_PROGRAM)
  add_link_options(-fuse-ld=lld)
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 18)
  # Constraints in the names of templates are new in clang 18. g++, which compiled the libraries that
  # we link, leaves them out.
  add_compile_options(-fclang-abi-compat=17)
endif()

if(DENOISE_SANITIZE)
  add_compile_options(-fsanitize=${DENOISE_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${DENOISE_SANITIZE})
  if(DENOISE_SANITIZE MATCHES "undefined")
    # LibTorch and gRPC are linked as they come, without type information for vptr checks.
    add_compile_options(-fno-sanitize=vptr -fno-sanitize-recover=undefined)
  endif()
endif()

# Warnings apply to our targets only, through this interface target.
add_library(denoise_warnings INTERFACE)
target_compile_options(denoise_warnings INTERFACE
  -Wall -Wextra -Wpedantic $<$<CXX_COMPILER_ID:GNU>:-Wshadow=local> -Wnon-virtual-dtor
  -Woverloaded-virtual
  -Wno-missing-field-initializers  # designated initializers leave the rest at their defaults on purpose
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>  # g++ 12 sees overlaps in std::string that are not there
  # clang finds them in std::stable_sort of g++ 12's library
  $<$<CXX_COMPILER_ID:Clang>:-Wno-deprecated-declarations>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>  # checks ABSL_GUARDED_BY
  $<$<BOOL:${DENOISE_WERROR}>:-Werror>)
if(DENOISE_SANITIZE)
  # With sanitizers g++ knows less of what was initialised, as its manual says, and g++ 12 less of
  # the bounds of strings and of how coroutines allocate.
  target_compile_options(denoise_warnings INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-mismatched-new-delete>)
endif()
