# A layer is a static library that includes and links only itself and the layers below it.
#
#   gleaner_layer(kube SOURCES a.c b.c USES core LIBS PkgConfig::libcurl)
#
# Includes: "core/err.h" resolves through build/include/core/core -> core/, and a layer gets only
# its own such folder and those of the layers that it uses. Symbols: the target `layers` links
# each layer as a shared object with -z defs against the layers that it uses, so that an upward
# call fails to link (static libraries alone would let it pass).

set(GLEANER_WARNINGS
    -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum
    -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2 -Wnull-dereference -Werror)
if(NOT GLEANER_SANITIZE STREQUAL "")
  # gcc's flow analysis sees the sanitizers' own branches and reports them.
  list(REMOVE_ITEM GLEANER_WARNINGS -Wnull-dereference)
endif()

if(CMAKE_BUILD_TYPE STREQUAL "Release")
  # At -O3 gcc follows paths on which a callee failed without knowing that it then returned < 0.
  list(APPEND GLEANER_WARNINGS -Wno-error=maybe-uninitialized)
endif()

add_library(gleaner_options INTERFACE)
target_compile_options(gleaner_options INTERFACE ${GLEANER_WARNINGS} -fstack-protector-strong
                       -ffunction-sections -fdata-sections)
target_compile_definitions(gleaner_options INTERFACE _GNU_SOURCE)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_definitions(gleaner_options INTERFACE _FORTIFY_SOURCE=2)
endif()
target_link_options(gleaner_options INTERFACE -Wl,--gc-sections -Wl,-z,relro -Wl,-z,now)
if(GLEANER_SANITIZE STREQUAL "address+undefined")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(GLEANER_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(NOT GLEANER_SANITIZE STREQUAL "")
  message(FATAL_ERROR "GLEANER_SANITIZE: '${GLEANER_SANITIZE}' is not address+undefined or thread")
endif()

add_custom_target(layers)

function(gleaner_include_folder name)
  set(folder ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${folder})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${name} ${folder}/${name} SYMBOLIC)
endfunction()

function(gleaner_layer name)
  cmake_parse_arguments(L "" "" "SOURCES;USES;LIBS" ${ARGN})
  gleaner_include_folder(${name})
  add_library(${name} STATIC ${L_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_BINARY_DIR}/include/${name})
  target_link_libraries(${name} PRIVATE gleaner_options PUBLIC ${L_USES} ${L_LIBS})

  add_library(layer_${name} SHARED EXCLUDE_FROM_ALL $<TARGET_OBJECTS:${name}>)
  list(TRANSFORM L_USES PREPEND layer_ OUTPUT_VARIABLE lower)
  set_target_properties(layer_${name} PROPERTIES LINKER_LANGUAGE C)
  target_link_libraries(layer_${name} PUBLIC ${lower} ${L_LIBS})
  target_link_options(layer_${name} PRIVATE -Wl,-z,defs)
  add_dependencies(layers layer_${name})
endfunction()
