#include "workflow/restore.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "bare_repository.h"
#include "support/temp_dir.h"

using namespace kubedr;
using namespace kubedr::workflow;
using kubedr::repo::test::back_up;
using kubedr::repo::test::day;
using kubedr::repo::test::names;
using kubedr::repo::test::noise;
using kubedr::repo::test::overwrite;
using kubedr::repo::test::pages;
using kubedr::repo::test::text_of;
using kubedr::test::read_text;
using kubedr::test::TempDir;
using kubedr::workflow::test::BareRepository;
using storage::FileKind;

namespace {

// One snapshot, of a file "db".
struct Restorable : BareRepository {
  Restorable() {
    back_up(*this, store, pages(0, 3), day(1));
    request.choice.snapshot = "latest";
    request.target = folder / "target";
  }

  std::string run() {
    return text_of([&] { restore(services(), request, call); });
  }

  TempDir folder;
  RestoreRequest request;
};

}  // namespace

TEST_CASE("restore: a damaged index file does not stop it while another knows what is needed") {
  Restorable repository;
  overwrite(repository.store, {FileKind::index, std::string(64, 'b')}, as_bytes("junk"),
            repository.call);
  CHECK(repository.run() == "nothing thrown");
  CHECK(std::filesystem::file_size(repository.request.target / "db") == 3 * 16 * 1024);
}

TEST_CASE("restore: what is damaged is told at the end, of a rehearsal too") {
  Restorable repository;
  for (const std::string& id : names(repository.store, FileKind::pack, repository.call)) {
    const storage::FileName name{FileKind::pack, id};
    Bytes bytes = repository.store.load(name, 1 << 20, repository.call);
    if (bytes.size() > 3 * 16 * 1024) bytes[100] ^= 1U;
    overwrite(repository.store, name, bytes, repository.call);
  }
  const std::string text = repository.run();
  CHECK(text.starts_with("corrupt: restore: a file or folder is damaged in snapshot "));
  CHECK(text.find(": /db: blob ") != std::string::npos);
  CHECK(std::filesystem::is_empty(repository.request.target));
  CHECK(names(repository.store, FileKind::lock, repository.call).empty());

  for (const std::string& id : names(repository.store, FileKind::index, repository.call)) {
    overwrite(repository.store, {FileKind::index, id}, as_bytes("junk"), repository.call);
  }
  repository.request.target = repository.folder / "other";
  repository.request.dry_run = true;
  CHECK(repository.run().starts_with("corrupt: restore: a file or folder is damaged"));
  CHECK_FALSE(std::filesystem::exists(repository.request.target));
}

TEST_CASE("restore: a rehearsal refuses the targets that a restore refuses") {
  Restorable repository;
  repository.request.target = repository.folder.write("full/file", "x").parent_path();
  repository.request.dry_run = true;
  CHECK(repository.run().starts_with("usage: " + repository.request.target.string() +
                                     ": is not an empty folder"));
  repository.request.options.overwrite = repo::Overwrite::always;
  CHECK(repository.run() == "nothing thrown");
  repository.request.target = repository.folder / "full/file";
  CHECK(repository.run().starts_with("usage: "));
}
