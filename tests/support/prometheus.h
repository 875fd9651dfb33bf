#ifndef KUBEDR_SUPPORT_PROMETHEUS_H
#define KUBEDR_SUPPORT_PROMETHEUS_H

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "support/process.h"
#include "support/server.h"
#include "support/temp_dir.h"

namespace kubedr::test {

// A real Prometheus that scrapes and judges once a second, ready when the constructor returns.
//
// threads  one thread
class Prometheus {
 public:
  struct Target {
    std::string job;
    int port = 0;
    bool tls = false;  // whoever signed its certificate
  };

  explicit Prometheus(const std::vector<Target>& targets, const std::filesystem::path& rules = {});

  // The series that an expression gives now: [{"metric": {...}, "value": [time, "1"]}, ...].
  Json query(const std::string& expression) const;

  // The value of an expression that gives one series; empty while it gives none.
  std::string value(const std::string& expression) const;

  // Names of the alerts that fire.
  std::vector<std::string> firing() const;

 private:
  Json ask(const std::string& path) const;

  TempDir dir_;
  const int port_ = free_port();
  std::unique_ptr<Process> process_;
};

// A real Pushgateway.
//
// threads  one thread
class Pushgateway {
 public:
  Pushgateway();

  std::string url() const;

  int port() const { return port_; }

  // What it exposes.
  std::string metrics() const;

 private:
  TempDir dir_;
  const int port_ = free_port();
  std::unique_ptr<Process> process_;
};

RunResult promtool(const std::vector<std::string>& args, const std::string& input = {});

// What a GET of an address on this machine is answered with; status 0 where nobody answers.
http::Response http_get(const std::string& url, const http::Headers& headers = {},
                        const http::Tls& tls = {});

}  // namespace kubedr::test

#endif  // KUBEDR_SUPPORT_PROMETHEUS_H
