// The JavaScript client's informer on MXJobs, which says each event as a line until it is killed.
// Arguments: a kubeconfig and the folder with the packages.
import { createRequire } from "node:module";

const [kubeconfig, packages] = process.argv.slice(2);
const require = createRequire(`${packages}/`);
const { CustomObjectsApi, KubeConfig, makeInformer } = require("@kubernetes/client-node");

const config = new KubeConfig();
config.loadFromFile(kubeconfig);
const api = config.makeApiClient(CustomObjectsApi);
const jobs = { group: "kubeflow.org", version: "v1", namespace: "default", plural: "mxjobs" };
const path = "/apis/kubeflow.org/v1/namespaces/default/mxjobs";
const informer = makeInformer(config, path, () => api.listNamespacedCustomObject(jobs));

for (const event of ["add", "update", "delete"]) {
  informer.on(event, (job) => console.log(`${event} ${job.metadata.name}`));
}
// It stops at an error, and starting it again is its user's part.
informer.on("error", (error) => {
  console.log(`error ${error.code ?? error.message}`);
  setTimeout(() => informer.start(), 100);
});
await informer.start();
