#ifndef KUBEDR_SUPPORT_LIVE_LOG_H
#define KUBEDR_SUPPORT_LIVE_LOG_H

#include <filesystem>
#include <string>

namespace kubedr::test {

// The log file of a running server. When a test case fails, a doctest listener prints the end of
// each log that was live during that case.
class LiveLog {
 public:
  explicit LiveLog(std::filesystem::path file);
  LiveLog(const LiveLog&) = delete;
  LiveLog& operator=(const LiveLog&) = delete;
  ~LiveLog();

 private:
  const std::filesystem::path file_;
};

// The last lines of a file; empty when it is not there.
std::string last_lines(const std::filesystem::path& file, int count = 60);

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_LIVE_LOG_H
