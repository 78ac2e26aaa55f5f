# Fails on a listed file that does not exist, as Slicer's macro does, and copies the others into the
# build tree, so that a test can import what a built extension would hold.
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MODULE "WITH_GENERIC_TESTS;WITH_SUBDIR" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(NOT MODULE_NAME OR MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "scripted module without a name, or with '${MODULE_UNPARSED_ARGUMENTS}'")
  endif()
  foreach(file IN LISTS MODULE_SCRIPTS MODULE_RESOURCES)
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "${MODULE_NAME} lists '${file}', which does not exist")
    endif()
    configure_file(${CMAKE_CURRENT_SOURCE_DIR}/${file}
      ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${file} COPYONLY)
  endforeach()
endfunction()

function(slicer_add_python_unittest)
  cmake_parse_arguments(TEST "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS" ${ARGN})
  # As SlicerMacroPythonTesting.cmake:81-84: a relative folder would stay relative in sys.path.
  if(NOT IS_ABSOLUTE ${TEST_SCRIPT} OR NOT EXISTS ${TEST_SCRIPT})
    message(FATAL_ERROR "the test '${TEST_SCRIPT}' does not exist, or is no full path")
  endif()
endfunction()
