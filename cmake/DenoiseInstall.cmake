# cmake --install build/release --prefix DIR: the programs, with the libraries of LibTorch that they
# load beside them, in a folder that can be moved as a whole. The same with `--component cuda` adds
# what they load where there is an NVIDIA GPU: our module, LibTorch's CUDA half and CUDA's
# libraries. Run scripts/bootstrap --cuda before you configure, or CUDA's libraries are missing.
set(_libraries lib/denoised/torch/lib)
foreach(target denoised denoise)
  if(TARGET ${target})
    set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN/../${_libraries}")
    install(TARGETS ${target} RUNTIME DESTINATION bin)
  endif()
endforeach()

if(TARGET denoise_cuda)  # where LoadCuda looks for it
  set_target_properties(denoise_cuda PROPERTIES INSTALL_RPATH "$ORIGIN/torch/lib")
  install(TARGETS denoise_cuda LIBRARY DESTINATION lib/denoised COMPONENT cuda EXCLUDE_FROM_ALL)
endif()

# Folders keep their places, because LibTorch's libraries look for NVIDIA's relative to their own.
set(_torch_lib ${DENOISE_TORCH_ROOT}/lib)
set(_cuda_libraries libtorch_cuda* libc10_cuda.so libtorch_nvshmem.so libcaffe2_nvrtc.so)
list(TRANSFORM _cuda_libraries PREPEND ${_torch_lib}/ OUTPUT_VARIABLE _cuda_files)
file(GLOB _cuda_files ${_cuda_files})
file(GLOB _cpu_files ${_torch_lib}/*.so ${_torch_lib}/*.so.*)
list(REMOVE_ITEM _cpu_files ${_cuda_files} ${_torch_lib}/libtorch.so
    ${_torch_lib}/libtorch_python.so
     ${_torch_lib}/libtorch_global_deps.so ${_torch_lib}/libshm.so)
install(FILES ${_cpu_files} DESTINATION ${_libraries})
install(FILES ${_cuda_files} DESTINATION ${_libraries} COMPONENT cuda EXCLUDE_FROM_ALL)

set(_nvidia ${DENOISE_TORCH_ROOT}/../nvidia)
if(EXISTS ${_nvidia})
  install(DIRECTORY ${_nvidia}/cu13/lib/ DESTINATION lib/denoised/nvidia/cu13/lib
    FILES_MATCHING PATTERN "libcudart.so.*" PATTERN "libcupti.so.*")
  install(DIRECTORY ${_nvidia}/ DESTINATION lib/denoised/nvidia COMPONENT cuda EXCLUDE_FROM_ALL
    FILES_MATCHING PATTERN "*.so*" PATTERN "include" EXCLUDE)
endif()

# The licenses of the wheels, with their versions and the checksums of their files, where pip would
# install them, so that scanners find them.
file(GLOB _cuda_wheels ${DENOISE_TORCH_ROOT}/../*.dist-info)
set(_cpu_wheels ${_cuda_wheels})
list(FILTER _cpu_wheels INCLUDE REGEX "/(torch|nvidia_cuda_(runtime|cupti))-[^/]*$")
list(FILTER _cuda_wheels EXCLUDE REGEX "/(torch|nvidia_cuda_(runtime|cupti|crt))-[^/]*$")
install(DIRECTORY ${_cpu_wheels} DESTINATION lib/denoised)
install(DIRECTORY ${_cuda_wheels} DESTINATION lib/denoised COMPONENT cuda EXCLUDE_FROM_ALL)
