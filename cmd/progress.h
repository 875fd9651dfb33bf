#ifndef KUBEDR_CMD_PROGRESS_H
#define KUBEDR_CMD_PROGRESS_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "workflow/services.h"

namespace kubedr::cmd {

enum class ProgressStyle {
  none,
  line,  // one line of a terminal, redrawn, and gone when the step ends
  log,   // a line now and then, of steps that take long
  json,  // an object a line, about one a second
};

// The flag's "auto", "json" or "none" as what it means here.
ProgressStyle progress_style(const std::string& flag, bool quiet, bool terminal);

// Says on stderr how far a step is: bytes, rate, time left. Time goes on where bytes do not: a
// thread of its own looks again and again, so that a step that hangs is seen to hang.
//
// threads  synchronised
class ProgressReport final : public workflow::Progress {
 public:
  // `clock` must outlive this.
  ProgressReport(ProgressStyle style, const Clock& clock);
  ~ProgressReport() override;

  void begin(std::string_view step, std::uint64_t total_bytes) override;
  void advance(std::uint64_t bytes) override;
  void end(bool done) override;

 private:
  enum class State { under_way, done, failed };

  struct Sample {
    SteadyTime time;
    std::uint64_t bytes;
  };

  struct Step {
    std::string name;
    std::uint64_t total = 0;  // 0: not known
    std::uint64_t done = 0;   // at the last look
    SteadyTime begun{};
    std::deque<Sample> samples;  // of the last seconds, for a rate that follows
    bool told = false;           // in the log
  };

  void watch(const std::stop_token& stop);
  void finish(State state);
  void take_sample(SteadyTime now);
  double rate() const;
  void show(SteadyTime now);
  void show_line(SteadyTime now);
  void show_log(SteadyTime now);
  void show_json(SteadyTime now, State state) const;
  std::string measures(SteadyTime now, std::string_view gap) const;

  const ProgressStyle style_;
  const Clock& clock_;
  std::atomic<std::uint64_t> bytes_{0};  // of the step; no lock, which a stuck terminal may hold
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<Step> step_;  // guarded by mutex_
  SteadyTime shown_{};        // guarded by mutex_
  std::jthread watcher_;      // the last member: it uses the others
};

}  // namespace kubedr::cmd

#endif  // KUBEDR_CMD_PROGRESS_H
