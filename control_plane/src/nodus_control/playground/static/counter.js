// The counter-offers of a refusal: in words, and as the fields of the job that change. Pure.

import { plural, roughly, usd } from "./dom.js";

const isCount = (value) => Number.isInteger(value) && value > 0;

export function counterOffers({ gpu_count: asked = 1 }, { largest_fitting: fitting, cheapest_minute_usd: minute }) {
	const { max_runtime_seconds: seconds, gpu_count: gpus, both } = fitting ?? {};
	const { gpu_count: fewer, max_runtime_seconds: longest } = both ?? {};
	const isOther = isCount(fewer) && isCount(longest) && fewer !== gpus && !(seconds && fewer === asked);
	return [
		isCount(seconds) && [`Run it for ${roughly(seconds)}`, { max_runtime_seconds: seconds }],
		isCount(gpus) && [`Run it on ${plural(gpus, "GPU")}`, { gpu_count: gpus }],
		isOther && [`Run it on ${plural(fewer, "GPU")} for ${roughly(longest)}`, { gpu_count: fewer, max_runtime_seconds: longest }],
		minute > 0 && [`Raise its ceiling to ${usd(minute)}`, { max_cost_usd: minute }],
	].filter(Boolean);
}
