#include "repo/key.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/time.h"
#include "repo/json_text.h"

namespace kubedr::repo {
namespace {

constexpr std::size_t kSaltSize = 64;

bool is_affordable(const KeyCost& cost) {
  if (cost.n < 2 || (cost.n & (cost.n - 1)) != 0 || cost.r == 0 || cost.p == 0) return false;
  const std::uint64_t block = std::uint64_t{128} * cost.r;
  if (block > limits::kKeyMemory || cost.n > limits::kKeyMemory / block) return false;
  const std::uint64_t memory = block * cost.n;
  return cost.p <= limits::kKeyMemory / block && cost.p <= limits::kKeyWork / memory;
}

void take(ByteView& from, std::span<std::uint8_t> to) {
  std::copy_n(from.begin(), to.size(), to.begin());
  from = from.subspan(to.size());
}

SealKey derive_key(const Secret& password, ByteView salt, const KeyCost& cost) {
  // OpenSSL counts a little more than 128*N*r, and its own limit of 32 MiB is below restic's usual
  // cost.
  constexpr std::uint64_t kOpensslLimit = 3 * limits::kKeyMemory;
  const std::string_view text = password.reveal();
  WipedBytes derived;
  derived.bytes.resize(32 + 16 + 16);  // encrypt, k, r
  const int good =
      EVP_PBE_scrypt(text.data(), text.size(), salt.data(), salt.size(), cost.n, cost.r, cost.p,
                     kOpensslLimit, derived.bytes.data(), derived.bytes.size());
  if (good != 1) throw Error(ErrorKind::internal, "key: scrypt failed");
  SealKey key;
  ByteView rest = derived.bytes;
  take(rest, key.encrypt);
  take(rest, key.mac_k);
  take(rest, key.mac_r);
  return key;
}

std::string master_json(const SealKey& master) {
  return fmt::format(R"({{"mac":{{"k":"{}","r":"{}"}},"encrypt":"{}"}})", to_base64(master.mac_k),
                     to_base64(master.mac_r), to_base64(master.encrypt));
}

// Fills `to` from a base64 text and wipes the text; false unless it has just that many bytes and
// one of them is not zero.
bool take_key(Json& value, std::span<std::uint8_t> to) {
  if (!value.is_string()) return false;
  std::string& text = value.get_ref<std::string&>();
  WipedBytes decoded;
  decoded.bytes = from_base64(text).value_or(Bytes{});
  wipe(text.data(), text.size());
  if (decoded.bytes.size() != to.size()) return false;
  std::copy(decoded.bytes.begin(), decoded.bytes.end(), to.begin());
  return std::any_of(to.begin(), to.end(), [](std::uint8_t byte) { return byte != 0; });
}

// The parser's message would quote the key: it is not asked for one.
SealKey parse_master(std::string_view json, const std::string& where) {
  Json value = Json::parse(json, nullptr, false);
  SealKey master;
  const bool good =
      value.is_object() && value["mac"].is_object() && take_key(value["encrypt"], master.encrypt) &&
      take_key(value["mac"]["k"], master.mac_k) && take_key(value["mac"]["r"], master.mac_r);
  if (!good) throw Error(ErrorKind::corrupt, where + ": the master key in it is not valid");
  return master;
}

struct KeyFile {
  KeyCost cost;
  Bytes salt;
  Bytes data;
};

std::uint64_t positive(const Json& value, const char* name) {
  const long long number = find_integer(value, {name}).value_or(0);
  return number < 0 ? 0 : static_cast<std::uint64_t>(number);
}

KeyFile parse_key_file(std::string_view json, const std::string& where) {
  const Json value = parse_json(json, where);
  if (find_string(value, {"kdf"}) != "scrypt") {
    throw Error(ErrorKind::corrupt, where + ": not a key: its kdf is not scrypt");
  }
  const std::uint64_t r = positive(value, "r");
  const std::uint64_t p = positive(value, "p");
  if (r > UINT32_MAX || p > UINT32_MAX) {
    throw Error(ErrorKind::corrupt, where + ": scrypt with a cost beyond reason");
  }
  KeyFile file;
  file.cost = {positive(value, "N"), static_cast<std::uint32_t>(r), static_cast<std::uint32_t>(p)};
  if (!is_affordable(file.cost)) {
    throw Error(ErrorKind::corrupt, where + ": scrypt with a cost beyond reason");
  }
  file.salt = from_base64(find_string(value, {"salt"}).value_or("")).value_or(Bytes{});
  file.data = from_base64(find_string(value, {"data"}).value_or("")).value_or(Bytes{});
  if (file.salt.size() != kSaltSize) {
    throw Error(ErrorKind::corrupt, where + ": not a key: its salt is not 64 bytes");
  }
  if (file.data.size() < kSealOverhead) {
    throw Error(ErrorKind::corrupt, where + ": not a key: no data");
  }
  return file;
}

}  // namespace

SealKey make_master_key(Random& random) {
  SealKey key;
  random.fill(key.encrypt);
  random.fill(key.mac_k);
  random.fill(key.mac_r);
  return key;
}

Bytes make_key_file(const SealKey& master, const Secret& password, const std::string& username,
                    const std::string& hostname, WallTime now, const KeyCost& cost,
                    Random& random) {
  if (!is_affordable(cost)) throw Error(ErrorKind::internal, "key: a cost beyond reason");
  Bytes salt(kSaltSize);
  random.fill(salt);
  std::string plain = master_json(master);
  Bytes data;
  Sealer(derive_key(password, salt, cost), random).seal(as_bytes(plain), data);
  wipe(plain.data(), plain.size());
  const std::string json = fmt::format(
      R"({{"created":"{}","username":{},"hostname":{},"kdf":"scrypt","N":{},"r":{},"p":{},)"
      R"("salt":"{}","data":"{}"}})",
      format_rfc3339_nano(now), go_json_string(username), go_json_string(hostname), cost.n, cost.r,
      cost.p, to_base64(salt), to_base64(data));
  return Bytes(json.begin(), json.end());
}

void require_good_password(const Secret& password) {
  const std::string_view text = password.reveal();
  if (text.empty()) {
    throw Error(ErrorKind::usage, "an empty password is not a password");
  }
  if (text.ends_with('\n') || text.ends_with('\r')) {
    throw Error(ErrorKind::usage, "the password ends in a newline, which restic would drop",
                "make the Secret with --from-literal, or the file with printf %s");
  }
}

std::optional<SealKey> open_key_file(std::string_view json, const Secret& password,
                                     const std::string& where) {
  const KeyFile file = parse_key_file(json, where);
  SystemRandom random;
  WipedBytes plain;
  Sealer sealer(derive_key(password, file.salt, file.cost), random);
  if (!sealer.try_open(file.data, plain.bytes)) return std::nullopt;
  return parse_master(as_text(plain.bytes), where);
}

}  // namespace kubedr::repo
