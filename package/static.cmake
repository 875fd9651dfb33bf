# For a program that needs no library of the machine it runs on: archives in place of shared libraries, all from the root
# folder that package/libraries makes. Read before the packages are looked for.
set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
set(OPENSSL_USE_STATIC_LIBS ON)
set(CURL_NO_CURL_CMAKE ON)
# A compiler looks into the folders beside its own before those of the root folder; -B comes first.
add_link_options(-static-pie -B${CMAKE_SYSROOT}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/)

find_library(KUBEDR_NGHTTP2 nghttp2 REQUIRED)
find_library(KUBEDR_CARES cares REQUIRED)
find_library(KUBEDR_ZLIB z REQUIRED)
find_library(KUBEDR_YAML_ARCHIVE yaml-cpp REQUIRED)
find_path(KUBEDR_HTTPLIB_INCLUDE httplib.h REQUIRED)

# fmt and spdlog come as shared libraries only, and as headers.
function(kubedr_use_archives)
  target_link_libraries(CURL::libcurl INTERFACE ${KUBEDR_NGHTTP2} OpenSSL::SSL OpenSSL::Crypto ${KUBEDR_CARES}
                        ${KUBEDR_ZLIB})
  add_library(kubedr_spdlog INTERFACE)
  target_compile_definitions(kubedr_spdlog INTERFACE SPDLOG_FMT_EXTERNAL)
  target_link_libraries(kubedr_spdlog INTERFACE fmt::fmt-header-only Threads::Threads)
  add_library(kubedr_httplib INTERFACE)
  target_include_directories(kubedr_httplib SYSTEM INTERFACE ${KUBEDR_HTTPLIB_INCLUDE})
  target_compile_definitions(kubedr_httplib INTERFACE CPPHTTPLIB_OPENSSL_SUPPORT)
  target_link_libraries(kubedr_httplib INTERFACE OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
  set(KUBEDR_FMT fmt::fmt-header-only PARENT_SCOPE)
  set(KUBEDR_HTTPLIB kubedr_httplib PARENT_SCOPE)
  set(KUBEDR_SPDLOG kubedr_spdlog PARENT_SCOPE)
  set(KUBEDR_YAML ${KUBEDR_YAML_ARCHIVE} PARENT_SCOPE)
  set(KUBEDR_PUGIXML pugixml::static PARENT_SCOPE)
endfunction()
