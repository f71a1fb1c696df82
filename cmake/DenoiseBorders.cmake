# denoise_write_borders() writes what every target is made of and what it links to
# ${CMAKE_BINARY_DIR}/borders.txt, for scripts/check-borders. Call it once all targets are there.
#
# One line a target, its fields separated by tabs: name, type, source folder, SOURCES,
# LINK_LIBRARIES, INTERFACE_LINK_LIBRARIES.

function(_denoise_borders_below folder lines)
  set(result)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target ${targets})
    set(line ${target})
    foreach(property TYPE SOURCE_DIR SOURCES LINK_LIBRARIES INTERFACE_LINK_LIBRARIES)
      get_target_property(value ${target} ${property})
      if(NOT value)
        set(value "")
      endif()
      string(APPEND line "\t${value}")
    endforeach()
    string(APPEND result "${line}\n")
  endforeach()
  get_property(subfolders DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(subfolder ${subfolders})
    _denoise_borders_below(${subfolder} below)
    string(APPEND result "${below}")
  endforeach()
  set(${lines} "${result}" PARENT_SCOPE)
endfunction()

function(denoise_write_borders)
  _denoise_borders_below(${CMAKE_SOURCE_DIR} lines)
  file(WRITE ${CMAKE_BINARY_DIR}/borders.txt "${lines}")
endfunction()
