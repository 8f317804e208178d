(function () {
  "use strict";
  var config = JSON.parse(document.getElementById("bocb-config").textContent);
  document.getElementById("bocb").textContent = "placeholder of format " + config.format;
})();
