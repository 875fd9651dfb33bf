#ifndef KUBEDR_SUPPORT_PROCESS_H
#define KUBEDR_SUPPORT_PROCESS_H

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/file.h"
#include "support/live_log.h"

namespace kubedr::test {

enum class Terminal {
  none,
  input,  // stdin is a terminal, the controlling one; what the program writes is captured apart
  all,    // stdin, stdout and stderr are that terminal: read screen()
};

struct ProcessOptions {
  std::map<std::string, std::string> env;  // besides PATH and HOME nothing else is inherited
  bool inherit_env = false;
  std::filesystem::path cwd;
  std::string input;  // stdin, /dev/null if empty; typed at once if stdin is a terminal
  Terminal terminal = Terminal::none;
  std::filesystem::path log;  // stdout and stderr are appended there instead of being captured
};

// How a process ended and what it used; `code` is -1 when a signal ended it.
struct Exit {
  int code = -1;
  int signal = 0;
  // Its own since exec, as it was seen last: up to 10 ms before its end, and while it was waited
  // for. (wait4's figure counts what the test had in memory when it forked.)
  std::size_t peak_memory_bytes = 0;
  std::chrono::microseconds cpu{0};
};

// A program under the test's control, killed when this goes and when the test dies.
//
// threads  one thread, and it must live as long as the process: the kernel ends a child with the
//          thread that started it
class Process {
 public:
  explicit Process(const std::vector<std::string>& argv, const ProcessOptions& options = {});
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }

  void kill(int signal) const;

  // How it ended, or nullopt if it is still running after that time.
  std::optional<Exit> wait(std::chrono::milliseconds timeout);

  // SIGTERM, and SIGKILL if that was not enough within the grace.
  Exit stop(std::chrono::milliseconds grace = std::chrono::seconds(10));

  // Everything written so far.
  std::string out() const;
  std::string err() const;
  std::string screen() const;  // with Terminal: what a person would see, echo included

  // As if a person did it; a newline must be given.
  void type(std::string_view text) const;

  // Whether a text shows up in out, err, screen or log within that time.
  bool wait_for(std::string_view text, std::chrono::milliseconds timeout) const;

 private:
  struct Streams;

  Streams open_streams(const ProcessOptions& options);
  void keep_screen() const;
  bool wait_watching_memory(std::chrono::milliseconds timeout);

  pid_t pid_ = -1;
  FileDescriptor exited_;  // a pidfd: readable once the process has ended
  FileDescriptor out_, err_, screen_;
  FileDescriptor terminal_;  // our side of it
  std::filesystem::path log_file_;
  std::optional<LiveLog> log_;
  std::size_t peak_memory_bytes_ = 0;
  std::optional<Exit> exit_;
  std::jthread screen_keeper_;
};

struct RunResult {
  Exit exit;
  std::string out;
  std::string err;
  std::string screen;
  bool timed_out = false;  // killed

  bool ok() const { return exit.code == 0 && !timed_out; }
};

// Runs a program to its end.
RunResult run(const std::vector<std::string>& argv, const ProcessOptions& options = {},
              std::chrono::milliseconds timeout = std::chrono::seconds(60));

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_PROCESS_H
