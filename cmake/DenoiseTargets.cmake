# One target per folder. scripts/check-borders fails on an include of a folder whose target is not
# linked. Headers are included from the root of the repository ("core/sampling/samplers/plan.h").

# denoise_library(sampling SOURCES plan.cc PUBLIC denoise::base PRIVATE
# nlohmann_json::nlohmann_json) makes denoise::sampling.
function(denoise_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(denoise_${name} STATIC ${ARG_SOURCES})
  add_library(denoise::${name} ALIAS denoise_${name})
  target_include_directories(denoise_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(denoise_${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE}
      denoise_warnings)
  set_property(GLOBAL APPEND PROPERTY DENOISE_TARGETS denoise_${name})
endfunction()

# denoise_interface(network HEADERS network.h LINKS LibTorch::torch)
# makes denoise::network, of headers that others may include without linking the rest of the folder.
function(denoise_interface name)
  cmake_parse_arguments(ARG "" "" "HEADERS;LINKS" ${ARGN})
  add_library(denoise_${name} INTERFACE ${ARG_HEADERS})
  add_library(denoise::${name} ALIAS denoise_${name})
  target_include_directories(denoise_${name} INTERFACE ${CMAKE_SOURCE_DIR})
  target_link_libraries(denoise_${name} INTERFACE ${ARG_LINKS})
endfunction()

function(denoise_executable name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} denoise_warnings)
  set_property(GLOBAL APPEND PROPERTY DENOISE_TARGETS ${name})
endfunction()

# denoise_test(plan_test SOURCES plan_test.cc LIBS denoise::sampling [LABELS slow])
# Runs from the root of the repository, so that tests name their data as "tests/data/...".
function(denoise_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} denoise_warnings GTest::gmock_main)
  set_property(GLOBAL APPEND PROPERTY DENOISE_TARGETS ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(DENOISE_SANITIZE)  # sanitizers slow some tests down tenfold
    math(EXPR ARG_TIMEOUT "10 * ${ARG_TIMEOUT}")
  endif()
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  # Tests run side by side; OpenMP's threads must not spin for what the others' threads need.
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
                       ENVIRONMENT OMP_WAIT_POLICY=passive)
endfunction()
