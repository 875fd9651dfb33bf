#include "support/image.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/hex.h"
#include "base/sha256.h"
#include "support/process.h"

namespace kubedr::test {
namespace {

void run_tool(const std::vector<std::string>& argv) {
  const RunResult result = run(argv);
  if (!result.ok()) throw std::runtime_error(argv.front() + ": " + result.err);
}

Json read_json(const std::filesystem::path& file) {
  return parse_json(read_text(file), file.string());
}

}  // namespace

Image::Image(const std::filesystem::path& program) {
  run_tool({KUBEDR_IMAGE_SCRIPT, program.string(), archive().string(), "kubectl-kubedr:test"});
  std::filesystem::create_directories(folder_ / "image");
  std::filesystem::create_directories(root());
  run_tool({"tar", "-xf", archive().string(), "-C", (folder_ / "image").string()});
  const Json index = read_json(folder_ / "image/index.json");
  const Json manifest = read_json(blob(index.at("manifests").at(0).at("digest")));
  for (const Json& layer : manifest.at("layers")) {
    run_tool({"tar", "-xzf", blob(layer.at("digest")).string(), "-C", root().string()});
  }
}

Json Image::settings() const {
  const Json old_manifest = read_json(folder_ / "image/manifest.json");
  const std::string config = old_manifest.at(0).at("Config");
  return read_json(folder_.path() / "image" / config).at("config");
}

std::filesystem::path Image::blob(const std::string& digest) const {
  const std::filesystem::path file =
      folder_.path() / "image/blobs/sha256" / digest.substr(digest.find(':') + 1);
  const std::string content = read_text(file);
  if ("sha256:" + to_hex(sha256(as_bytes(content))) != digest) {
    throw std::runtime_error("image: blob " + digest + " is another one");
  }
  return file;
}

}  // namespace kubedr::test
