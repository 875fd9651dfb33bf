// The hidden verb that writes what is made from the tree of verbs and flags: the manual pages and
// the completions that are checked in.

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/file.h"
#include "cmd/context.h"
#include "cmd/flags.h"
#include "cmd/manual.h"
#include "cmd/shells.h"

namespace kubedr::cmd {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text, mode_t mode) {
  FileDescriptor file = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  write_full(file.get(), as_bytes(text), path);
  if (fchmod(file.get(), mode) != 0) throw_errno(path, "chmod");
  file.close(path);
}

// Pages of verbs that are no more.
void remove_pages(const fs::path& folder) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("kubectl-kubedr") && name.ends_with(".1")) fs::remove(entry.path());
  }
}

// What a test has seen them print, in the checkout: the program itself carries none of it.
Sessions read_sessions(const fs::path& folder) {
  constexpr std::size_t kLimit = 1 << 20;
  Sessions sessions;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    sessions[entry.path().stem()] = as_text(read_file(entry.path(), kLimit));
  }
  return sessions;
}

int run(const CLI::App& root, const fs::path& folder, const Context& context) {
  constexpr mode_t kText = 0644;
  constexpr mode_t kProgram = 0755;
  fs::create_directories(folder / "man");
  fs::create_directories(folder / "completions");
  remove_pages(folder / "man");
  const std::vector<ManualPage> pages =
      manual_pages(root, read_sessions(folder / "tests/data/output"));
  for (const ManualPage& page : pages) write(folder / "man" / page.file, page.text, kText);
  for (const ShellScript& script : shell_scripts()) {
    const bool is_program = script.text.starts_with("#!");
    write(folder / "completions" / script.file, script.text, is_program ? kProgram : kText);
  }
  context.print(fmt::format("{} pages and {} scripts written to {}\n", pages.size(),
                            shell_scripts().size(), folder.string()));
  return 0;
}

}  // namespace

void add_docs(CLI::App& root, Action& action) {
  CLI::App* verb = root.add_subcommand("__docs", "Write the manual pages and the completions");
  verb->group("");  // hidden
  // Shared with the callback, which CLI11 keeps until the verb has run.
  const auto folder = std::make_shared<std::string>();
  verb->add_option("FOLDER", *folder, "The checkout")->required();
  verb->callback([&action, &root, folder] {
    action = [&root, folder](const Context& context) { return run(root, *folder, context); };
  });
}

}  // namespace kubedr::cmd
