#ifndef KUBEDR_FUZZ_REPLAY_H
#define KUBEDR_FUZZ_REPLAY_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

// A fuzz target is a file with these two. With clang's libFuzzer it is built with
// -fsanitize=fuzzer and finds its own way; with any compiler replay.cc runs it on its seeds and on
// many thousand damaged forms of them, the same ones in every run.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace kubedr::fuzz {

std::vector<std::string> seeds();

// Bytes from outside may be refused as corrupt or as wrong usage; anything else is a finding.
template <class Parse>
int expect_refusal_at_most(const Parse& parse) {
  try {
    parse();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::usage) throw;
  }
  return 0;
}

}  // namespace kubedr::fuzz

#endif  // KUBEDR_FUZZ_REPLAY_H
