#include "repo/snapshot.h"

#include <doctest/doctest.h>

#include <random>
#include <string>

#include "base/error.h"
#include "base/time.h"

using namespace kubedr;
using namespace kubedr::repo;

namespace {

const std::string kTree(64, '1');
const std::string kParent(64, '2');
const std::string kOriginal(64, '3');

WallTime at(const char* text) {
  return parse_time(text).value();
}

Snapshot full_snapshot() {
  Snapshot snapshot;
  snapshot.time = at("2026-11-22T07:39:00.315039215Z");
  snapshot.parent = SnapshotId::parse(kParent);
  snapshot.tree = *BlobId::parse(kTree);
  snapshot.paths = {"/etcd/db", "/etc/<pki>"};
  snapshot.hostname = "host";
  snapshot.username = "root";
  snapshot.uid = 1000;
  snapshot.gid = 1001;
  snapshot.tags = {"kubedr", "policy=ns/name"};
  snapshot.original = SnapshotId::parse(kOriginal);
  snapshot.program_version = "restic 0.18.0";
  Summary summary;
  summary.backup_start = at("2026-11-22T07:39:00Z");
  summary.backup_end = at("2026-11-22T07:39:01.5Z");
  summary.files_new = 1;
  summary.data_added_packed = 10;
  summary.total_bytes_processed = 12;
  snapshot.summary = summary;
  return snapshot;
}

const std::string kFull =
    R"({"time":"2026-11-22T07:39:00.315039215Z","parent":")" + kParent + R"(","tree":")" + kTree +
    R"(","paths":["/etcd/db","/etc/\u003cpki\u003e"],"hostname":"host","username":"root",)"
    R"("uid":1000,"gid":1001,"tags":["kubedr","policy=ns/name"],"original":")" +
    kOriginal +
    R"(","program_version":"restic 0.18.0","summary":{"backup_start":"2026-11-22T07:39:00Z",)"
    R"("backup_end":"2026-11-22T07:39:01.5Z","files_new":1,"files_changed":0,"files_unmodified":0,)"
    R"("dirs_new":0,"dirs_changed":0,"dirs_unmodified":0,"data_blobs":0,"tree_blobs":0,)"
    R"("data_added":0,"data_added_packed":10,"total_files_processed":0,)"
    R"("total_bytes_processed":12}})";

// What is said about a text, or empty.
std::string complaint(const std::string& json) {
  try {
    parse_snapshot(json, "snapshots/ab");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::corrupt);
    return error.what();
  }
  return "";
}

std::string with(const std::string& what, const std::string& instead) {
  std::string text = kFull;
  REQUIRE(text.find(what) != std::string::npos);
  return text.replace(text.find(what), what.size(), instead);
}

}  // namespace

TEST_CASE("snapshot: all keys are written in restic's order, and come back") {
  CHECK(to_json(full_snapshot()) == kFull);
  CHECK(to_json(parse_snapshot(kFull, "snapshots/ab")) == kFull);
}

TEST_CASE("snapshot: what is empty or 0 is left out") {
  Snapshot snapshot;
  snapshot.time = at("2026-11-22T07:39:00Z");
  snapshot.tree = *BlobId::parse(kTree);
  const std::string json =
      R"({"time":"2026-11-22T07:39:00Z","tree":")" + kTree + R"(","paths":[]})";
  CHECK(to_json(snapshot) == json);
  const Snapshot back = parse_snapshot(json, "snapshots/ab");
  CHECK_FALSE(back.parent.has_value());
  CHECK_FALSE(back.summary.has_value());
  CHECK(back.uid == 0);
  CHECK(back.tags.empty());
}

TEST_CASE("snapshot: times with an offset and keys of other versions are read") {
  const Snapshot snapshot =
      parse_snapshot(R"({"time":"2026-11-22T08:39:00.5+01:00","parent":null,"tree":")" + kTree +
                         R"(","paths":null,"excludes":["x"],"future":{"a":[1]},"tags":null})",
                     "snapshots/ab");
  CHECK(snapshot.time == at("2026-11-22T07:39:00.5Z"));
  CHECK(snapshot.paths.empty());
}

TEST_CASE("snapshot: what is none is corrupt") {
  REQUIRE(complaint(kFull).empty());
  for (const char* text : {"", "{}", "[]", "null", "5", "{\"time\":5}"}) {
    CAPTURE(text);
    CHECK_FALSE(complaint(text).empty());
  }
  CHECK(complaint(with("2026-11-22T07:39:00.315039215Z", "yesterday")) ==
        "snapshots/ab: not a snapshot: time");
  CHECK_FALSE(complaint(with("2222", "222")).empty());
  CHECK_FALSE(complaint(with("1111", "111")).empty());
  CHECK_FALSE(complaint(with("\"" + kTree + "\"", "null")).empty());
  CHECK_FALSE(complaint(with("1000", "4294967296")).empty());
  CHECK_FALSE(complaint(with("1000", "-1")).empty());
  CHECK_FALSE(complaint(with("1000", "\"1000\"")).empty());
  CHECK_FALSE(complaint(with("\"host\"", "5")).empty());
  CHECK_FALSE(complaint(with("\"kubedr\"", "5")).empty());
  CHECK_FALSE(complaint(with("[\"kubedr\",\"policy=ns/name\"]", "\"kubedr\"")).empty());
  CHECK_FALSE(complaint(with("\"files_new\":1", "\"files_new\":-1")).empty());
  CHECK_FALSE(complaint(with("2026-11-22T07:39:01.5Z", "")).empty());
}

TEST_CASE("snapshot: random damage is taken or corrupt, nothing else") {
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = kFull;
    for (auto left = 1 + random() % 3; left > 0; --left) {
      const std::size_t at = random() % damaged.size();
      if (random() % 2 == 0) {
        damaged[at] = "{}[]\",:0-9.etnul\\\xff"[random() % 19];
      } else {
        damaged.erase(at, 1 + random() % 10);
      }
    }
    complaint(damaged);
  }
}

TEST_CASE("snapshot: the offset of the clock that it was taken by is known") {
  const auto offset = [](const std::string& time) {
    const std::string json = R"({"time":")" + time + R"(","tree":")" + kTree + R"("})";
    return parse_snapshot(json, "snapshots/1").utc_offset.count();
  };
  CHECK(offset("2026-11-22T07:39:00.315039215Z") == 0);
  CHECK(offset("2026-11-22T07:39:00+02:00") == 120);
  CHECK(offset("2026-11-22T07:39:00.5-03:30") == -210);
}
