// `stats --mode` beside restic 0.18's, on repositories that both wrote to.

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>

#include "interop/shared_repository.h"
#include "support/server.h"

using namespace kubedr;
using namespace kubedr::test;
namespace fs = std::filesystem;

namespace {

// Ours by restic's names; restic leaves out what is 0.
Json as_restic(const Json& ours) {
  Json json;
  for (const auto& [our, their] : {std::pair{"snapshotsCount", "snapshots_count"},
                                   {"totalFileCount", "total_file_count"},
                                   {"totalBlobCount", "total_blob_count"},
                                   {"totalSize", "total_size"},
                                   {"totalUncompressedSize", "total_uncompressed_size"},
                                   {"compressionRatio", "compression_ratio"},
                                   {"compressionProgress", "compression_progress"},
                                   {"compressionSpaceSaving", "compression_space_saving"}}) {
    if (ours.contains(our) && ours.at(our) != 0) json[their] = ours.at(our);
  }
  return json;
}

void check_same_figures(const Json& ours, const Json& theirs) {
  CAPTURE(ours.dump());
  CAPTURE(theirs.dump());
  REQUIRE(ours.size() == theirs.size());
  for (const auto& [key, value] : theirs.items()) {
    CAPTURE(key);
    CHECK(ours.at(key).get<double>() == doctest::Approx(value.get<double>()).epsilon(1e-9));
  }
}

// The lines without what is counted.
std::string words_of(const std::string& text) {
  return std::regex_replace(text, std::regex(":.*"), "");
}

}  // namespace

TEST_CASE("stats --mode: counts what restic counts") {
  KUBEDR_NEEDS("restic-0.18");
  for (const std::string version : {"1", "2"}) {
    CAPTURE(version);
    SharedRepository repository;
    const TempDir& folder = repository.folder();
    const fs::path root = folder / "work";
    folder.write("work/large", noise(3'000'000, 1));
    folder.write("work/dull", std::string(2'000'000, 'x'));
    folder.write("work/one/same", "the same content");
    folder.write("work/two/same", "the same content");
    folder.write("work/empty", "");
    fs::create_hard_link(root / "large", root / "two/hard link");
    fs::create_symlink("large", root / "link");
    repository.must("ours", {"init", "--repository-version", version});
    repository.must("0.18", {"backup", root.string()});
    folder.write("work/large", noise(3'000'000, 2));
    folder.write("work/three", "of the second only");
    std::vector<std::string> backup = {"backup", root.string()};
    if (version == "2") backup.insert(backup.end(), {"--compression", "off"});
    repository.must("0.18", backup);

    for (const std::string mode :
         {"restore-size", "files-by-contents", "blobs-per-file", "raw-data"}) {
      CAPTURE(mode);
      const Json theirs =
          parse_json(repository.must("0.18", {"stats", "--mode", mode, "--json"}), "restic");
      const Json ours = repository.must_ours({"stats", "--mode", mode});
      CHECK(ours.at("mode") == mode);
      check_same_figures(as_restic(ours), theirs);

      // restic says "scanning..." first, and has more digits for a size.
      const std::string text = repository.must("ours", {"stats", "--mode", mode});
      const std::string their_text = repository.must("0.18", {"stats", "--mode", mode});
      CHECK(words_of(text) == words_of(their_text.substr(their_text.find("Stats in"))));
    }
  }
}
