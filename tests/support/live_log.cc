#include "support/live_log.h"

#include <doctest/doctest.h>

#include <map>
#include <mutex>
#include <utility>

#include "support/temp_dir.h"

namespace kubedr::test {
namespace {

namespace fs = std::filesystem;

// Logs of this test case. A fixture is gone before doctest says how its case ended, so what its log
// said last is kept until then.
struct Logs {
  std::mutex mutex;
  std::multimap<fs::path, std::string> live;   // values unused
  std::multimap<fs::path, std::string> ended;  // file -> its last lines
};

Logs& logs() {
  static Logs instance;
  return instance;
}

class ShowLogsOfFailedCases final : public doctest::IReporter {
 public:
  explicit ShowLogsOfFailedCases(const doctest::ContextOptions& options) : options_(options) {}

  void test_case_start(const doctest::TestCaseData&) override {
    const std::lock_guard lock(logs().mutex);
    logs().ended.clear();
  }

  void test_case_end(const doctest::CurrentTestCaseStats& stats) override {
    if (stats.testCaseSuccess) return;
    const std::lock_guard lock(logs().mutex);
    for (const auto& [file, text] : logs().ended) show(file, text);
    for (const auto& [file, unused] : logs().live) show(file, last_lines(file));
  }

  void report_query(const doctest::QueryData&) override {}

  void test_run_start() override {}

  void test_run_end(const doctest::TestRunStats&) override {}

  void test_case_reenter(const doctest::TestCaseData&) override {}

  void test_case_exception(const doctest::TestCaseException&) override {}

  void subcase_start(const doctest::SubcaseSignature&) override {}

  void subcase_end() override {}

  void log_assert(const doctest::AssertData&) override {}

  void log_message(const doctest::MessageData&) override {}

  void test_case_skipped(const doctest::TestCaseData&) override {}

 private:
  void show(const fs::path& file, const std::string& text) const {
    *options_.cout << "---- end of " << file.filename().string() << " ----\n" << text;
  }

  const doctest::ContextOptions& options_;
};

REGISTER_LISTENER("logs", 1, ShowLogsOfFailedCases);

}  // namespace

LiveLog::LiveLog(fs::path file) : file_(std::move(file)) {
  const std::lock_guard lock(logs().mutex);
  logs().live.emplace(file_, "");
}

LiveLog::~LiveLog() {
  const std::lock_guard lock(logs().mutex);
  logs().live.erase(logs().live.find(file_));
  logs().ended.emplace(file_, last_lines(file_));
}

std::string last_lines(const fs::path& file, int count) {
  std::string text = read_text(file);
  std::size_t begin = text.size();
  for (int line = 0; line <= count && begin != std::string::npos && begin > 0; ++line) {
    begin = text.rfind('\n', begin - 1);
  }
  return begin == std::string::npos || begin == 0 ? text : text.substr(begin + 1);
}

}  // namespace kubedr::test
