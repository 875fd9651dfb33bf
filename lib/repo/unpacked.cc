#include "repo/unpacked.h"

#include "base/error.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/sha256.h"
#include "repo/compress.h"

namespace kubedr::repo {

namespace {

constexpr std::uint8_t kCompressed = 2;  // the first byte in front of a zstd frame

bool is_json(ByteView plain) {
  return plain[0] == '{' || plain[0] == '[';
}

}  // namespace

UnpackedFiles::UnpackedFiles(storage::Store& store, const SealKey& key, int version, Random& random)
    : store_(&store), key_(key), version_(version), random_(&random) {}

UnpackedFiles::Sealed UnpackedFiles::seal(storage::FileKind kind, std::string_view json) const {
  Sealed file;
  Sealer sealer = make_sealer();
  if (version_ >= 2) {
    Bytes plain{kCompressed};
    Compressor().compress(as_bytes(json), plain);
    sealer.seal(plain, file.bytes);
  } else {
    sealer.seal(as_bytes(json), file.bytes);
  }
  file.digest = sha256(file.bytes);
  file.name = {kind, to_hex(file.digest)};
  return file;
}

void UnpackedFiles::save(const Sealed& file, const Call& call) const {
  store_->save(file.name, file.bytes, file.digest, storage::SaveMode::replace, call);
}

Bytes UnpackedFiles::load_sealed(const storage::FileName& name, const Call& call) const {
  for (int tries = 0; tries < 2; ++tries) {
    Bytes bytes = store_->load(name, limits::kUnpackedBytes, call);
    if (to_hex(sha256(bytes)) == name.id) return bytes;
  }
  throw Error(ErrorKind::corrupt,
              name.path() + ": invalid data returned: its name is not its hash");
}

Bytes UnpackedFiles::open(const storage::FileName& name, ByteView sealed) const {
  Bytes plain;
  try {
    make_sealer().open(sealed, plain);
    if (version_ < 2 || plain.empty() || is_json(plain)) return plain;
    if (plain[0] != kCompressed) {
      throw Error(ErrorKind::corrupt, "not supported encoding format");
    }
    Bytes json;
    Compressor().decompress(ByteView(plain).subspan(1), limits::kUnpackedBytes, json);
    return json;
  } catch (const Error& error) {
    // What opens bytes does not know whose they are.
    throw Error(error.kind(), name.path() + ": " + error.what(), error.hint());
  }
}

Bytes UnpackedFiles::load(const storage::FileName& name, const Call& call) const {
  return open(name, load_sealed(name, call));
}

}  // namespace kubedr::repo
