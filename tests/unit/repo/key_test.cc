#include "repo/key.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/hex.h"
#include "base/json.h"

using namespace kubedr;
using namespace kubedr::repo;

namespace {

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

// Of a repository that restic 0.14 made with the password `secret-pw`.
constexpr std::string_view kSalt =
    "2a900ed5265128a3a112ea031cabeaed520bd3c0e78942afc55f1340e823dba1b4ba8a927af0b55a00d48567ab7d20"
    "02acbad7951144d0efe9b2b84c26ffbb0e";
constexpr std::string_view kData =
    "854a539a018531751080744a17e20236513b936df0005ff524acedd9362b96c87c0d2fb7ee979c344ba5fc350519f0"
    "ef35cb527ce8414d39f8cc797c0d02ccb18d8702af17756135da70a65cba2bb3aabcfeb73d812a732aad4c1a4e15ac"
    "879af0a50bc5ebef21a8fbb9f02615a173bd38150464de866824910a64c83ef2e9e3d8ec28914367c828ca1db2040b"
    "6c380628699d5a67c3c0ec2d58eea41efdcaf1";

Json restic_key() {
  return {{"created", "2026-11-22T07:39:00.315039215Z"},
          {"username", "root"},
          {"hostname", "vm"},
          {"kdf", "scrypt"},
          {"N", 32768},
          {"r", 8},
          {"p", 6},
          {"salt", to_base64(hex(kSalt))},
          {"data", to_base64(hex(kData))}};
}

// Cheap: tests are about the file, not about the cost.
constexpr KeyCost kCheap{16, 1, 1};

std::string key_file(const SealKey& master, const Secret& password) {
  SystemRandom random;
  const Bytes file = make_key_file(master, password, "root", "pod-1", WallTime{}, kCheap, random);
  return std::string(as_text(file));
}

ErrorKind kind_of_opening(const std::string& json) {
  try {
    open_key_file(json, Secret("pw"), "keys/ab");
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::findings;
}

}  // namespace

TEST_CASE("key: one of restic's opens with its password and opens its config") {
  const auto key = open_key_file(restic_key().dump(), Secret("secret-pw"), "keys/1");
  REQUIRE(key.has_value());
  CHECK(to_hex(key->encrypt) == "e3a6bfddc7ac4a40b8a656cd3bfd03e81df4f52965088fba3e782a5506387342");
  CHECK(to_hex(key->mac_k) == "1d0438f9b445d78f5a1faa11f38ac82c");
  CHECK(to_hex(key->mac_r) == "bf5faa0c0cfa0e0244bc1c0db8706f01");
  SystemRandom random;
  Bytes config;
  Sealer(*key, random)
      .open(hex("ba0d264d1939e1fb67229b636ad6da6c62ec3c90d39ddc8fcb37db5442a21c9f9994e1c037b6cd69fa"
                "9ea5a2e59d821be33357092e67907d2ff30b230475e2157f62db2206add70839bf3726991b727e7810"
                "cc7e5752008d0d9ee931a29f9d1613e63742e06353639226cb62b9727381974158571d4365364dfecc"
                "73211de4f45534ad1d45f60a25c9300890d15b7282ad344f2be10c0a8f9a1495"),
            config);
  CHECK(as_text(config) ==
        R"({"version":2,"id":"12256a3b1688dc6ec5934a9704ff69fa42696e565afb4458864bcab74d11085d",)"
        R"("chunker_polynomial":"222d103d4a5867"})");
}

TEST_CASE("key: a wrong password is an answer, not an error") {
  SystemRandom random;
  const std::string file = key_file(make_master_key(random), Secret("right"));
  CHECK(open_key_file(file, Secret("right"), "keys/1").has_value());
  CHECK_FALSE(open_key_file(file, Secret("right\n"), "keys/1").has_value());
  CHECK_FALSE(open_key_file(file, Secret("wrong"), "keys/1").has_value());
}

TEST_CASE("key: what is made has restic's keys in restic's order and gives the master key back") {
  SystemRandom random;
  const SealKey master = make_master_key(random);
  const std::string file = key_file(master, Secret("pw"));
  CHECK(file.starts_with(R"({"created":"1970-01-01T00:00:00Z","username":"root",)"
                         R"("hostname":"pod-1","kdf":"scrypt","N":16,"r":1,"p":1,"salt":")"));
  CHECK(from_base64(parse_json(file, "key")["salt"].get<std::string>())->size() == 64);
  CHECK(from_base64(parse_json(file, "key")["data"].get<std::string>())->size() == 160);
  const auto opened = open_key_file(file, Secret("pw"), "keys/1");
  REQUIRE(opened.has_value());
  CHECK(opened->encrypt == master.encrypt);
  CHECK(opened->mac_k == master.mac_k);
  CHECK(opened->mac_r == master.mac_r);
}

TEST_CASE("key: the default cost is within what OpenSSL is allowed") {
  SystemRandom random;
  const Bytes file =
      make_key_file(make_master_key(random), Secret("pw"), "", "", WallTime{}, KeyCost{}, random);
  CHECK(open_key_file(as_text(file), Secret("pw"), "keys/1").has_value());
}

TEST_CASE("key: two keys of one password differ in everything but the master key") {
  SystemRandom random;
  const SealKey master = make_master_key(random);
  CHECK(key_file(master, Secret("pw")) != key_file(master, Secret("pw")));
}

TEST_CASE("key: what is no key is corrupt") {
  CHECK(kind_of_opening("") == ErrorKind::corrupt);
  CHECK(kind_of_opening("[]") == ErrorKind::corrupt);
  const auto with = [](const char* name, const Json& value) {
    Json key = restic_key();
    key[name] = value;
    return kind_of_opening(key.dump());
  };
  CHECK(with("kdf", "argon2") == ErrorKind::corrupt);
  CHECK(with("salt", to_base64(Bytes(63))) == ErrorKind::corrupt);
  CHECK(with("salt", "not base64!") == ErrorKind::corrupt);
  CHECK(with("data", to_base64(Bytes(31))) == ErrorKind::corrupt);
  CHECK(with("data", nullptr) == ErrorKind::corrupt);
}

TEST_CASE("key: a cost beyond reason is corrupt before it is paid") {
  const auto with_cost = [](const Json& n, const Json& r, const Json& p) {
    Json key = restic_key();
    key["N"] = n;
    key["r"] = r;
    key["p"] = p;
    return kind_of_opening(key.dump());
  };
  CHECK(with_cost(1 << 19, 8, 1) == ErrorKind::corrupt);  // 512 MiB
  CHECK(with_cost(32768, 8, 100000) == ErrorKind::corrupt);
  CHECK(with_cost(2, 1, 4294967295u) == ErrorKind::corrupt);
  CHECK(with_cost(1, 8, 1) == ErrorKind::corrupt);
  CHECK(with_cost(0, 8, 1) == ErrorKind::corrupt);
  CHECK(with_cost(-2, 8, 1) == ErrorKind::corrupt);
  CHECK(with_cost(1000, 8, 1) == ErrorKind::corrupt);  // no power of two
  CHECK(with_cost(1024, 0, 1) == ErrorKind::corrupt);
  CHECK(with_cost(1024, 8, 0) == ErrorKind::corrupt);
  CHECK(with_cost(1024, 8589934600, 1) == ErrorKind::corrupt);
  CHECK(with_cost("1024", 8, 1) == ErrorKind::corrupt);
}

TEST_CASE("key: a master key of zeros or of a wrong size is corrupt, and not quoted") {
  SealKey master;
  master.encrypt.fill(1);
  master.mac_k.fill(2);
  CHECK_THROWS_WITH_AS(open_key_file(key_file(master, Secret("pw")), Secret("pw"), "keys/1"),
                       "keys/1: the master key in it is not valid", Error);
}
