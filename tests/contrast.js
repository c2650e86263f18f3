// Every visible text whose contrast with what lies behind it is below WCAG's AA level: 4.5, or 3 for large text.
() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, ground) => ground.map((value, i) => top[i] * top[3] + value * (1 - top[3]));
  const luminance = (colour) => {
    const [r, g, b] = colour.map((value) => value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const says = (element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  const counts = (element) => says(element) && element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})
    && element.getBoundingClientRect().width > 1 && !element.closest("svg, [disabled], [aria-disabled=true], .visually-hidden, .sr-only");
  const found = new Set();
  for (const element of [...document.querySelectorAll("body *")].filter(counts)) {
    const styles = [];
    for (let at = element; at; at = at.parentElement) styles.push(getComputedStyle(at));
    const ground = styles.reduceRight((below, style) => over(rgba(style.backgroundColor), below), [255, 255, 255]);
    const ink = rgba(styles[0].color);
    ink[3] *= styles.reduce((product, style) => product * Number(style.opacity), 1);
    const [bright, dark] = [luminance(over(ink, ground)), luminance(ground)].sort((a, b) => b - a);
    const size = parseFloat(styles[0].fontSize), large = size >= 24 || (size >= 18.6 && Number(styles[0].fontWeight) >= 700);
    const contrast = (bright + 0.05) / (dark + 0.05);
    if (contrast < (large ? 3 : 4.5)) found.add(`${contrast.toFixed(2)} ${element.tagName} ${element.textContent.trim().slice(0, 40)}`);
  }
  return [...found];
}
