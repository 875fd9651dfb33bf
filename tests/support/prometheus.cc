#include "support/prometheus.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "http/url.h"

namespace kubedr::test {
namespace {

std::string config_of(const std::vector<Prometheus::Target>& targets,
                      const std::filesystem::path& rules) {
  std::string config =
      "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n";
  if (!rules.empty()) config += fmt::format("rule_files: [{}]\n", rules.string());
  config += "scrape_configs:\n";
  for (const Prometheus::Target& target : targets) {
    config += fmt::format(
        "- job_name: {}\n"
        "  honor_labels: true\n"
        "  scheme: {}\n"
        "  tls_config: {{insecure_skip_verify: true}}\n"
        "  static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
        target.job, target.tls ? "https" : "http", target.port);
  }
  return config;
}

}  // namespace

Prometheus::Prometheus(const std::vector<Target>& targets, const std::filesystem::path& rules) {
  const auto config = dir_.write("prometheus.yml", config_of(targets, rules));
  ProcessOptions options;
  options.log = dir_ / "prometheus.log";
  process_ = std::make_unique<Process>(
      std::vector<std::string>{find_server("prometheus"), "--config.file=" + config.string(),
                               "--storage.tsdb.path=" + (dir_ / "data").string(),
                               fmt::format("--web.listen-address=127.0.0.1:{}", port_),
                               // Debian's package keeps these elsewhere; nobody looks at them.
                               "--web.console.templates=" + dir_.path().string(),
                               "--web.console.libraries=" + dir_.path().string()},
      options);
  wait_until_ready(*process_, options.log, [&] {
    return http_get(fmt::format("http://127.0.0.1:{}/-/ready", port_)).status == 200;
  });
}

Json Prometheus::ask(const std::string& path) const {
  const http::Response response = http_get(fmt::format("http://127.0.0.1:{}{}", port_, path));
  REQUIRE_MESSAGE(response.status == 200, response.text());
  return parse_json(response.text(), path).at("data");
}

Json Prometheus::query(const std::string& expression) const {
  return ask("/api/v1/query?query=" + http::escape(expression)).at("result");
}

std::string Prometheus::value(const std::string& expression) const {
  const Json result = query(expression);
  REQUIRE_MESSAGE(result.size() <= 1, result.dump(2));
  return result.empty() ? "" : result[0].at("value")[1].get<std::string>();
}

std::vector<std::string> Prometheus::firing() const {
  std::vector<std::string> names;
  const Json answer = ask("/api/v1/alerts");
  for (const Json& alert : answer.at("alerts")) {
    if (alert.at("state") == "firing") {
      names.push_back(alert.at("labels").at("alertname").get<std::string>());
    }
  }
  return names;
}

Pushgateway::Pushgateway() {
  ProcessOptions options;
  options.log = dir_ / "pushgateway.log";
  process_ = std::make_unique<Process>(
      std::vector<std::string>{find_server("pushgateway"),
                               fmt::format("--web.listen-address=127.0.0.1:{}", port_)},
      options);
  wait_until_ready(*process_, options.log,
                   [&] { return http_get(url() + "/-/ready").status == 200; });
}

std::string Pushgateway::url() const {
  return fmt::format("http://127.0.0.1:{}", port_);
}

std::string Pushgateway::metrics() const {
  const http::Response response = http_get(url() + "/metrics");
  REQUIRE(response.status == 200);
  return std::string(response.text());
}

RunResult promtool(const std::vector<std::string>& args, const std::string& input) {
  std::vector<std::string> argv = {find_server("promtool").string()};
  argv.insert(argv.end(), args.begin(), args.end());
  ProcessOptions options;
  options.input = input;
  return run(argv, options);
}

http::Response http_get(const std::string& url, const http::Headers& headers,
                        const http::Tls& tls) {
  http::Client client = local_client(tls);
  http::Request request;
  request.url = url;
  request.headers = headers;
  try {
    return client.send(request, call_for(std::chrono::seconds(10)));
  } catch (const Error&) {
    return {};
  }
}

}  // namespace kubedr::test
