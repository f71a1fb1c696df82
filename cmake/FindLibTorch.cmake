# Finds LibTorch where scripts/libtorch puts it, or where DENOISE_TORCH_ROOT says: the `torch`
# folder of a Python environment, or an unpacked archive, from version 2.6 on. LibTorch's own CMake
# package is not used, because that of the official build stops where there is no CUDA toolkit.
#
#   LibTorch::torch   the CPU half, which is all that our programs link. It loads the CUDA half if
#                     there is one.
#   LibTorch::cuda    the headers and libraries of the CUDA half, if the build has one and CUDA's
#                     headers are found.
#                     Linked by nothing but the module that a server opens on a machine with a GPU.

if(DEFINED ENV{XDG_CACHE_HOME} AND NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
  set(_libtorch_cache "$ENV{XDG_CACHE_HOME}")
else()
  set(_libtorch_cache "$ENV{HOME}/.cache")
endif()
file(STRINGS ${CMAKE_SOURCE_DIR}/scripts/libtorch.lock _libtorch_pin REGEX "^torch==")
string(REGEX REPLACE "^torch==([0-9.]+).*" "\\1" _libtorch_pin "${_libtorch_pin}")
set(DENOISE_TORCH_ROOT "${_libtorch_cache}/denoised/libtorch-${_libtorch_pin}/torch" CACHE PATH
    "The folder of LibTorch that holds include and lib")

set(_libtorch_include ${DENOISE_TORCH_ROOT}/include)
set(_libtorch_version_header ${_libtorch_include}/torch/headeronly/version.h)  # since 2.9
if(NOT EXISTS ${_libtorch_version_header})
  set(_libtorch_version_header ${_libtorch_include}/torch/csrc/api/include/torch/version.h)
endif()
if(EXISTS ${_libtorch_version_header})
  file(STRINGS ${_libtorch_version_header} _libtorch_lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH)")
  string(REGEX REPLACE "[^0-9;]" "" _libtorch_numbers "${_libtorch_lines}")
  list(JOIN _libtorch_numbers "." LibTorch_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS DENOISE_TORCH_ROOT LibTorch_VERSION
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE
    "There is none in ${DENOISE_TORCH_ROOT}. Run scripts/bootstrap, or give -DDENOISE_TORCH_ROOT= the torch folder of a Python environment or of an unpacked archive of LibTorch 2.6 or later.")
if(NOT LibTorch_FOUND OR TARGET LibTorch::torch)
  return()
endif()

# Before 2.7 there were builds for the C++ ABI of 2011, which link with nothing that a Linux
# distribution ships today.
file(STRINGS ${DENOISE_TORCH_ROOT}/lib/libc10.so _libtorch_abi REGEX "__cxx11" LIMIT_COUNT 1)
if(NOT _libtorch_abi)
  message(FATAL_ERROR "${DENOISE_TORCH_ROOT} is built without the C++11 ABI. Take an archive whose name has cxx11-abi, or a later version.")
endif()

# The include folder also carries protobuf, fmt and other libraries, of other versions than ours.
# Only what LibTorch's own headers include is let through.
set(_libtorch_headers ${CMAKE_BINARY_DIR}/libtorch-include)
file(MAKE_DIRECTORY ${_libtorch_headers})
foreach(folder ATen c10 caffe2 torch)
  file(REMOVE ${_libtorch_headers}/${folder})
  file(CREATE_LINK ${_libtorch_include}/${folder} ${_libtorch_headers}/${folder} SYMBOLIC)
endforeach()

add_library(LibTorch::c10 SHARED IMPORTED)
set_target_properties(LibTorch::c10 PROPERTIES
  IMPORTED_LOCATION ${DENOISE_TORCH_ROOT}/lib/libc10.so
  INTERFACE_INCLUDE_DIRECTORIES "${_libtorch_headers};${_libtorch_headers}/torch/csrc/api/include")
add_library(LibTorch::torch SHARED IMPORTED)
set_target_properties(LibTorch::torch PROPERTIES
  IMPORTED_LOCATION ${DENOISE_TORCH_ROOT}/lib/libtorch_cpu.so
  INTERFACE_LINK_LIBRARIES LibTorch::c10)

# Narrow headers: ATen/TensorOperators.h includes the one operator that it needs, not all of them.
# -pthread, which some of our libraries ask for, is everywhere, since it is part of what a
# precompiled header is valid for.
set_target_properties(LibTorch::torch PROPERTIES
  INTERFACE_COMPILE_DEFINITIONS AT_PER_OPERATOR_HEADERS
  INTERFACE_COMPILE_OPTIONS -pthread)

# The libgomp that LibTorch brings along, if it does: a process must not load two.
if(EXISTS ${DENOISE_TORCH_ROOT}/lib/libgomp.so.1)
  add_library(LibTorch::gomp SHARED IMPORTED)
  set_target_properties(LibTorch::gomp PROPERTIES IMPORTED_LOCATION
      ${DENOISE_TORCH_ROOT}/lib/libgomp.so.1)
  set_property(TARGET LibTorch::torch APPEND PROPERTY INTERFACE_LINK_LIBRARIES LibTorch::gomp)
endif()

# CUDA's headers: the official wheels' beside LibTorch, or a toolkit's.
find_path(DENOISE_CUDA_INCLUDE cuda_runtime_api.h
  PATHS ${DENOISE_TORCH_ROOT}/../nvidia/cu13/include
      ${DENOISE_TORCH_ROOT}/../nvidia/cuda_runtime/include
        /usr/local/cuda/include)
if(DENOISE_CUDA_INCLUDE AND EXISTS ${DENOISE_TORCH_ROOT}/lib/libtorch_cuda.so)
  add_library(LibTorch::c10_cuda SHARED IMPORTED)
  set_target_properties(LibTorch::c10_cuda PROPERTIES
    IMPORTED_LOCATION ${DENOISE_TORCH_ROOT}/lib/libc10_cuda.so)
  add_library(LibTorch::cuda SHARED IMPORTED)
  set_target_properties(LibTorch::cuda PROPERTIES
    IMPORTED_LOCATION ${DENOISE_TORCH_ROOT}/lib/libtorch_cuda.so
    INTERFACE_INCLUDE_DIRECTORIES ${DENOISE_CUDA_INCLUDE}
    INTERFACE_LINK_LIBRARIES "LibTorch::torch;LibTorch::c10_cuda")
endif()
